// What is read of sagas, and what is forgotten.
#include <algorithm>
#include <array>

#include "txcoord/log/pg_saga_log_sql.hpp"
#include "txcoord/protocol/saga.hpp"

namespace txcoord::saga_sql {
namespace {

using pg::Session;
using pg::Statement;

// By coordinator: one look into the index for each, however many sagas are unfinished.
constexpr Statement owners_of_unfinished{"saga_owners", R"(
SELECT e.id FROM coordinator_epoch e
WHERE EXISTS (SELECT FROM saga_instances s WHERE s.coordinator = e.id AND s.ended_at IS NULL)
ORDER BY e.id)"};

// As adopt_orphans (pg_saga_log_sql.cpp) has it.
constexpr Statement find_orphans{"saga_orphans", R"(
SELECT s.saga_id FROM saga_instances s JOIN coordinator_epoch e ON e.id = s.coordinator
WHERE s.ended_at IS NULL AND s.epoch < e.epoch
ORDER BY s.created_at, s.saga_id LIMIT $1)"};

// Materialized, so that no plan walks through all sagas there ever were in the order of their ids:
// the index of the unfinished ones has few.
constexpr Statement find_unfinished_of{"saga_unfinished_of", R"(
WITH ours AS MATERIALIZED (
  SELECT s.saga_id FROM saga_instances s
  WHERE s.coordinator = $1 AND s.epoch = $2 AND s.ended_at IS NULL
    AND s.created_at < clock_timestamp() - interval '2 seconds')
SELECT saga_id FROM ours WHERE $3 = '' OR saga_id > nullif($3, '')::uuid
ORDER BY saga_id LIMIT $4)"};

constexpr Statement find_one{
    "saga_find", "SELECT " TXC_SAGA_COLUMNS " FROM saga_instances s WHERE s.saga_id = $1"};

constexpr Statement find_of_order{"saga_of_order", "SELECT " TXC_SAGA_COLUMNS R"(
FROM saga_instances s WHERE s.order_id = $1::uuid ORDER BY s.created_at, s.saga_id)"};

// Ids are ordered by time. One statement for each kind of state, so that each has its index: the
// few that run, or failed, among millions that are completed.
#define TXC_LIST_SAGAS(condition)                                      \
  "SELECT " TXC_SAGA_COLUMNS " FROM saga_instances s WHERE " condition \
  " AND ($1 = '' OR s.saga_id < nullif($1, '')::uuid) ORDER BY s.saga_id DESC LIMIT $2"

constexpr Statement list_all{"saga_list_all", TXC_LIST_SAGAS("true")};
constexpr Statement list_running{"saga_list_running", TXC_LIST_SAGAS("s.ended_at IS NULL")};
constexpr Statement list_stuck{"saga_list_stuck", TXC_LIST_SAGAS("s.stuck_since IS NOT NULL")};
constexpr Statement stuck_number{
    "saga_count_stuck", "SELECT count(*) FROM saga_instances s WHERE s.stuck_since IS NOT NULL"};
constexpr Statement list_completed{"saga_list_completed", TXC_LIST_SAGAS("s.status = $3")};
constexpr Statement list_refused{"saga_list_refused",
                                 TXC_LIST_SAGAS("s.reason <> '' AND s.status = $3")};
constexpr Statement list_unfinished{"saga_list_unfinished",
                                    TXC_LIST_SAGAS("s.ended_at IS NULL AND s.status = $3")};

constexpr Statement read_history{"saga_history", R"(
SELECT status, step, (extract(epoch FROM at) * 1000000)::bigint
FROM saga_history WHERE saga_id = $1 ORDER BY n)"};

constexpr Statement find_orders_of_correlation{"saga_orders_of_correlation", R"(
SELECT s.order_id FROM saga_instances s
WHERE s.correlation_id = $1 AND s.correlation_id <> ''
ORDER BY s.saga_id DESC LIMIT $2)"};
constexpr std::size_t orders_of_correlation_max = 50;

constexpr Statement find_ended{"saga_ended_before", R"(
SELECT s.saga_id FROM saga_instances s JOIN coordinator_epoch e ON e.id = s.coordinator
WHERE NOT s.barriers_trimmed AND s.ended_at < clock_timestamp() - $1::bigint * interval '1 second'
  AND (s.epoch < e.epoch OR (s.coordinator = $3 AND s.epoch = $4))
ORDER BY s.ended_at LIMIT $2)"};

// Among the oldest: those that live trim theirs.
constexpr Statement find_owners_of_ended{"saga_owners_of_ended", R"(
SELECT DISTINCT o.coordinator FROM (
  SELECT s.coordinator FROM saga_instances s JOIN coordinator_epoch e ON e.id = s.coordinator
  WHERE NOT s.barriers_trimmed AND s.ended_at < clock_timestamp() - $1::bigint * interval '1 second'
    AND s.epoch = e.epoch
  ORDER BY s.ended_at LIMIT 1000) o
ORDER BY o.coordinator)"};

// SKIP LOCKED: two coordinators may have trimmed the same barriers at once; and one that somebody
// holds is met again in the next round.
constexpr Statement note_trimmed{"saga_barriers_trimmed", R"(
WITH ended AS (
  SELECT saga_id FROM saga_instances
  WHERE saga_id = ANY ($1::uuid[]) AND current_step = '' AND NOT barriers_trimmed
  ORDER BY saga_id FOR UPDATE SKIP LOCKED)
UPDATE saga_instances s SET barriers_trimmed = true FROM ended WHERE s.saga_id = ended.saga_id)"};

// SKIP LOCKED: two coordinators that trim at once take different rows. The arrays keep the planner
// from reading a whole table for it.
constexpr Statement delete_old{"saga_trim", R"(
WITH gone AS (
  DELETE FROM saga_instances WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM saga_instances
    WHERE barriers_trimmed AND ended_at < clock_timestamp() - $1::bigint * interval '1 second'
    ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED))
  RETURNING saga_id),
forgotten AS (
  DELETE FROM saga_history WHERE saga_id = ANY (ARRAY (SELECT saga_id FROM gone)))
SELECT count(*) FROM gone)"};

UtcTime time_of(const pqxx::field& field) {
  return UtcTime(std::chrono::microseconds(field.as<std::int64_t>()));
}
std::optional<UtcTime> time_if(const pqxx::field& field) {
  if (field.is_null()) return std::nullopt;
  return time_of(field);
}

std::vector<std::string> first_column(const pqxx::result& rows) {
  std::vector<std::string> texts;
  for (const auto& row : rows) texts.push_back(row.at(0).as<std::string>());
  return texts;
}

}  // namespace

std::vector<SagaInstance> read_instances(const pqxx::result& rows) {
  std::vector<SagaInstance> instances;
  instances.reserve(static_cast<std::size_t>(rows.size()));
  for (const auto& row : rows) {
    SagaInstance saga;
    const std::array texts{&saga.saga_id,     &saga.type,   &saga.status,   &saga.current_step,
                           &saga.reason,      &saga.detail, &saga.order_id, &saga.correlation_id,
                           &saga.coordinator, &saga.payload};
    int column = 0;
    for (std::string* const text : texts) *text = row.at(column++).as<std::string>();
    saga.accepted = row.at(column++).as<bool>();
    saga.answered = row.at(column++).as<bool>();
    saga.attempts = row.at(column++).as<std::uint32_t>();
    saga.last_error = row.at(column++).as<std::string>();
    saga.next_retry_at = time_if(row.at(column++));
    saga.stuck_since = time_if(row.at(column++));
    saga.ended_at = time_if(row.at(column++));
    saga.created_at = time_of(row.at(column++));
    saga.updated_at = time_of(row.at(column++));
    instances.push_back(std::move(saga));
  }
  return instances;
}

std::vector<std::string> owners(Session& session) {
  return first_column(session.exec(owners_of_unfinished));
}

std::vector<std::string> orphans(Session& session, std::size_t limit) {
  return first_column(session.exec(find_orphans, limit));
}

std::vector<std::string> unfinished_of(Session& session, const SagaOwner& owner,
                                       const std::string& after, std::size_t limit) {
  return first_column(
      session.exec(find_unfinished_of, owner.coordinator, owner.epoch, after, limit));
}

std::optional<SagaInstance> find(Session& session, const std::string& saga_id) {
  auto found = read_instances(session.exec(find_one, saga_id));
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

std::vector<SagaInstance> of_order(Session& session, const std::string& order_id) {
  return read_instances(session.exec(find_of_order, order_id));
}

std::vector<SagaInstance> list(Session& session, const std::string& state, std::size_t limit,
                               const std::string& before) {
  if (state.empty()) return read_instances(session.exec(list_all, before, limit));
  if (state == "running") return read_instances(session.exec(list_running, before, limit));
  if (state == "stuck") return read_instances(session.exec(list_stuck, before, limit));
  const Statement* of_status = &list_unfinished;
  if (state == protocol::saga_completed) of_status = &list_completed;
  if (state == protocol::saga_failed || state == protocol::saga_compensating)
    of_status = &list_refused;
  return read_instances(session.exec(*of_status, before, limit, state));
}

std::size_t count_stuck(Session& session) {
  return session.exec(stuck_number).at(0).at(0).as<std::size_t>();
}

std::vector<SagaHistoryEntry> history(Session& session, const std::string& saga_id) {
  std::vector<SagaHistoryEntry> entries;
  for (const auto& row : session.exec(read_history, saga_id))
    entries.push_back(
        {row.at(0).as<std::string>(), row.at(1).as<std::string>(), time_of(row.at(2))});
  return entries;
}

std::vector<std::string> orders_of_correlation(Session& session,
                                               const std::string& correlation_id) {
  std::vector<std::string> order_ids;
  // An order has a saga that placed it and one that cancelled it, rarely more.
  for (const auto& row :
       session.exec(find_orders_of_correlation, correlation_id, 2 * orders_of_correlation_max)) {
    auto order_id = row.at(0).as<std::string>();
    if (std::ranges::find(order_ids, order_id) == order_ids.end())
      order_ids.push_back(std::move(order_id));
  }
  if (order_ids.size() > orders_of_correlation_max) order_ids.resize(orders_of_correlation_max);
  return order_ids;
}

std::vector<std::string> ended_before(Session& session, const SagaOwner& owner,
                                      std::chrono::seconds age, std::size_t limit) {
  return first_column(session.exec(find_ended, age.count(), limit, owner.coordinator, owner.epoch));
}

std::vector<std::string> owners_of_ended(Session& session, std::chrono::seconds age) {
  return first_column(session.exec(find_owners_of_ended, age.count()));
}

Done barriers_trimmed(Session& session, const std::vector<std::string>& saga_ids) {
  session.exec(note_trimmed, saga_ids);
  return {};
}

Done trim(Session& session, std::chrono::seconds keep) {
  for (int batch = 0; batch < trim_batches_max; ++batch) {
    const auto gone = session.exec(delete_old, keep.count(), trim_sagas_max);
    if (gone.at(0).at(0).as<std::size_t>() < trim_sagas_max) break;
  }
  return {};
}

}  // namespace txcoord::saga_sql
