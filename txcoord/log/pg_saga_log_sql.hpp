// The sagas' SQL as blocking functions on one session; pg_saga_log.cpp runs them on its pools.
// They throw what libpqxx throws (txcoord/pg/classify.hpp).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "txcoord/log/saga_log.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::saga_sql {

// --- what the owner writes (pg_saga_log_sql.cpp) -------------------------------------------------

std::vector<SagaStartReply> start(pg::Session& session, const SagaOwner& owner,
                                  const std::vector<SagaStart>& sagas);
std::vector<std::string> record(pg::Session& session, const SagaOwner& owner,
                                const std::vector<SagaUpdate>& updates);
Done note_trouble(pg::Session& session, const SagaOwner& owner,
                  const std::vector<SagaTrouble>& troubles);
std::vector<SagaInstance> adopt(pg::Session& session, const SagaOwner& owner, std::size_t limit);
std::vector<SagaInstance> adopt_these(pg::Session& session, const SagaOwner& owner,
                                      const std::vector<std::string>& saga_ids);
std::vector<SagaInstance> take_up(pg::Session& session, const SagaOwner& owner,
                                  const std::vector<std::string>& saga_ids);

// --- reading, housekeeping (pg_saga_log_reads.cpp) -----------------------------------------------

// The columns of an instance, in the order read_instance() takes them, of a row called `s`.
#define TXC_SAGA_COLUMNS                                                                           \
  "s.saga_id, s.saga_type, s.status, s.current_step, s.reason, s.detail, s.order_id, "             \
  "s.correlation_id, s.coordinator, s.payload, s.accepted, s.answered, s.attempts, s.last_error, " \
  "(extract(epoch FROM s.next_retry_at) * 1000000)::bigint, "                                      \
  "(extract(epoch FROM s.stuck_since) * 1000000)::bigint, "                                        \
  "(extract(epoch FROM s.ended_at) * 1000000)::bigint, "                                           \
  "(extract(epoch FROM s.created_at) * 1000000)::bigint, "                                         \
  "(extract(epoch FROM s.updated_at) * 1000000)::bigint"
std::vector<SagaInstance> read_instances(const pqxx::result& rows);

std::vector<std::string> owners(pg::Session& session);
std::vector<std::string> orphans(pg::Session& session, std::size_t limit);
std::vector<std::string> unfinished_of(pg::Session& session, const SagaOwner& owner,
                                       const std::string& after, std::size_t limit);
std::optional<SagaInstance> find(pg::Session& session, const std::string& saga_id);
std::vector<SagaInstance> of_order(pg::Session& session, const std::string& order_id);
std::vector<SagaInstance> list(pg::Session& session, const std::string& state, std::size_t limit,
                               const std::string& before);
std::size_t count_stuck(pg::Session& session);
std::vector<SagaHistoryEntry> history(pg::Session& session, const std::string& saga_id);
std::vector<std::string> orders_of_correlation(pg::Session& session,
                                               const std::string& correlation_id);

std::vector<std::string> owners_of_ended(pg::Session& session, std::chrono::seconds age);
std::vector<std::string> ended_before(pg::Session& session, const SagaOwner& owner,
                                      std::chrono::seconds age, std::size_t limit);
Done barriers_trimmed(pg::Session& session, const std::vector<std::string>& saga_ids);

// Sagas that one statement of trim() deletes at most, and statements of one call.
inline constexpr std::size_t trim_sagas_max = 2000;
inline constexpr int trim_batches_max = 5;
Done trim(pg::Session& session, std::chrono::seconds keep);

}  // namespace txcoord::saga_sql
