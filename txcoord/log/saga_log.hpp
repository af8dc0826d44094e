// The sagas' part of the transaction log: their state, durable before the next step, and what was
// accepted before it was tried. In the log's database, beside decisions and keys;
// pg_saga_log.hpp is behind this port.
//
// All calls on the I/O thread, awaited there. Every change is fenced: it commits only while the
// caller's epoch is its coordinator's (I11), and only for sagas that the caller owns.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "participants/operation.hpp"
#include "txcoord/base/failure.hpp"
#include "txcoord/log/transaction_log.hpp"

namespace txcoord {

// Calls of start() and record() that may be under way beside those of the saga.lanes: of what was
// taken out of its batch.
inline constexpr std::size_t saga_lanes_alone_max = 2;

// Who writes: the owner of what it starts and adopts.
using SagaOwner = LogOwner;

struct SagaStart {
  std::string saga_id;  // uuid v7
  std::string type;     // protocol::SagaPlan::type
  std::string current_step;
  std::string payload;  // JSON: all that is needed to go on after a crash (saga_payload.hpp)
  // Its scope, key, fingerprint, kind, order id, correlation id and answer are recorded.
  std::shared_ptr<const Operation> operation;
  bool accepted = false;  // answered before it was tried (Prefer: respond-async)
};
struct SagaStartReply {
  bool started = false;                 // its key is claimed and it stands, durably
  std::optional<StoredOutcome> stored;  // else: what the key was used for before
};

// A state to be made durable before anything goes on.
struct SagaUpdate {
  std::string saga_id;
  std::string status, current_step, reason, detail;
  bool ended = false;  // completed or failed
  // Its key gets its outcome in the same transaction: confirmed, or refused when it has ended
  // otherwise. One that it has already stays (I10).
  bool confirmed = false;
  // Grows with every state of a saga (protocol::progress). A record that comes late, after a later
  // one, changes nothing: it would put the state back.
  std::uint32_t progress = 0;
};

// What people see of a saga that is waiting for its next try. Nothing depends on it.
struct SagaTrouble {
  std::string saga_id;
  std::uint32_t attempts = 0;
  std::optional<UtcTime> next_retry_at;
  std::string last_error;
  bool stuck = false;  // needs a person
};

struct SagaInstance {
  std::string saga_id, type, status, current_step, reason, detail;
  std::string order_id, correlation_id, coordinator, payload;
  bool accepted = false;
  bool answered = false;  // the outcome is under its key, the saga may go on
  std::uint32_t attempts = 0;
  std::optional<UtcTime> next_retry_at, stuck_since, ended_at;
  std::string last_error;
  UtcTime created_at{}, updated_at{};
  LogOwner adopted_from;  // set by adopt(): who may still have messages on their way
};

struct SagaHistoryEntry {
  std::string status, step;
  UtcTime at{};
};

class SagaLog {
 public:
  virtual ~SagaLog() = default;

  // Claims the keys, sorted, and writes the instances (STARTED), in one commit for all of them. A
  // failure with outcome_unknown: the same start (same saga ids) may be repeated; what is pending
  // under the very same saga counts as started. Two with one key: one of them is started.
  virtual asio::awaitable<Result<std::vector<SagaStartReply>>> start(
      SagaOwner owner, std::vector<SagaStart> sagas) = 0;
  // One commit; one update for each saga. The ids of those that are not ours any more (adopted by
  // another): nothing was written for them. Writing the same state twice is harmless (a lost
  // acknowledgement); a saga of ours that is further along already counts as recorded, and stays
  // there. A state that moves on clears attempts, next_retry_at, last_error and stuck_since.
  virtual asio::awaitable<Result<std::vector<std::string>>> record(
      SagaOwner owner, std::vector<SagaUpdate> updates) = 0;
  virtual asio::awaitable<Result<Done>> note_trouble(SagaOwner owner,
                                                     std::vector<SagaTrouble> troubles) = 0;
  // Takes the unfinished sagas of fenced epochs (our own earlier ones, and those of coordinators
  // that were taken over), oldest first. They are ours from then on.
  virtual asio::awaitable<Result<std::vector<SagaInstance>>> adopt(SagaOwner owner,
                                                                   std::size_t limit) = 0;
  // The same for these alone, where they may be adopted.
  virtual asio::awaitable<Result<std::vector<SagaInstance>>> adopt_these(
      SagaOwner owner, std::vector<std::string> saga_ids) = 0;
  // The ids of those that adopt() would take, oldest first.
  virtual asio::awaitable<Result<std::vector<std::string>>> orphans(std::size_t limit) = 0;
  // The ids of this very owner's unfinished sagas that are older than a moment, in order, after
  // this one (empty: from the first). Ids are ordered by time.
  virtual asio::awaitable<Result<std::vector<std::string>>> unfinished_of(SagaOwner owner,
                                                                          std::string after,
                                                                          std::size_t limit) = 0;
  // Those among these that are this very owner's and unfinished, read under the fence. Writes
  // nothing.
  virtual asio::awaitable<Result<std::vector<SagaInstance>>> take_up(
      SagaOwner owner, std::vector<std::string> saga_ids) = 0;
  // Coordinators that own unfinished sagas: whom recovery may have to take over.
  virtual asio::awaitable<Result<std::vector<std::string>>> owners() = 0;

  // --- reading ---------------------------------------------------------------------------------
  virtual asio::awaitable<Result<std::optional<SagaInstance>>> find(std::string saga_id) = 0;
  // All of this order's, oldest first: the one that placed it, one for a cancel.
  virtual asio::awaitable<Result<std::vector<SagaInstance>>> of_order(std::string order_id) = 0;
  // Newest first. state: a status, "running" (not ended), "stuck", or empty for all. `before` is
  // the last saga_id of the page before.
  virtual asio::awaitable<Result<std::vector<SagaInstance>>> list(std::string state,
                                                                  std::size_t limit,
                                                                  std::string before) = 0;
  // How many need a person, whoever runs them.
  virtual asio::awaitable<Result<std::size_t>> count_stuck() = 0;
  virtual asio::awaitable<Result<std::vector<SagaHistoryEntry>>> history(std::string saga_id) = 0;
  // The order ids of the sagas with this correlation id, newest first, at most 50.
  virtual asio::awaitable<Result<std::vector<std::string>>> orders_of_correlation(
      std::string correlation_id) = 0;

  // --- housekeeping ----------------------------------------------------------------------------
  // Sagas that ended more than `age` ago and whose barriers still stand: for trim_steps(). Those of
  // `owner` itself and of fenced epochs: only its owner knows what a living one may still send.
  virtual asio::awaitable<Result<std::vector<std::string>>> ended_before(SagaOwner owner,
                                                                         std::chrono::seconds age,
                                                                         std::size_t limit) = 0;
  // Coordinators that own some of the oldest of those, in an epoch that is not fenced: when nobody
  // runs them any more, recovery may have to take them over.
  virtual asio::awaitable<Result<std::vector<std::string>>> owners_of_ended(
      std::chrono::seconds age) = 0;
  virtual asio::awaitable<Result<Done>> barriers_trimmed(std::vector<std::string> saga_ids) = 0;
  // Deletes instances, with their history, whose barriers are gone and that ended before `keep`.
  virtual asio::awaitable<Result<Done>> trim(std::chrono::seconds keep) = 0;
};

}  // namespace txcoord
