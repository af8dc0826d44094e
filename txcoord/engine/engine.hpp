// The engine as the REST layer sees it: submit an operation, read what is decided and not applied.
// All calls on the I/O thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "participants/operation.hpp"
#include "txcoord/engine/degraded_modes.hpp"
#include "txcoord/log/transaction_log.hpp"

namespace txcoord::engine {

namespace asio = boost::asio;

// How an operation becomes atomic: by group two-phase commit, or as a saga.
enum class Protocol : std::uint8_t { two_phase, saga };

enum class SubmitStatus : std::uint8_t {
  confirmed,    // the decision is durable; a saga is completed, or only what is due is left
  refused,      // a business refusal, recorded under its key
  replayed,     // the key was used before with the same body: `stored` is the answer
  key_reused,   // … with another body: 422
  in_flight,    // the key is being worked on here: 409
  unavailable,  // nothing happened, nothing recorded: 503, may be sent again
  overloaded,   // admission refused it: 503
  unknown,      // the outcome is not known yet: 202 + Location
  accepted,     // it is durable, and will be tried until it has an outcome: 202 + Location
  invalid,      // a database refused the values of this operation alone (poison): recorded, 422
};

struct SubmitResult {
  SubmitStatus status = SubmitStatus::unavailable;
  std::string reason, detail;  // for refused, unavailable, overloaded, invalid
  std::string transaction_id;  // gid as text, or the saga's id, when there is one
  bool applied = false;        // every branch is committed
  bool late = false;           // unavailable, since a service of its own did not answer in time
  std::optional<StoredOutcome> stored;
  std::chrono::milliseconds retry_after{1000};  // for unavailable, overloaded, in_flight
};

struct SubmitOptions {
  Protocol protocol = Protocol::two_phase;
  bool accept_now = false;                   // Prefer: respond-async
  bool wait_applied = false;                 // Prefer: applied
  std::chrono::milliseconds wait_max{5000};  // then `unknown`
};

// An order as this process knows it while its last operation is under way or not applied yet.
struct PendingOrder {
  bool decided = false;  // false: in the queue or in a group that has not decided
  OperationKind kind = OperationKind::place;
  std::shared_ptr<const Operation> operation;
  std::string transaction_id;
  std::vector<std::string> waiting_for;  // participants whose COMMIT PREPARED is outstanding
};

// A group that is active here, for GET /v1/transactions.
struct ActiveTransaction {
  std::string gid, state;  // voting, judging, preparing, deciding, committing, aborting, settling
  std::size_t operations = 0;
  std::vector<std::string> order_ids, participants, waiting_for;
  UtcTime started_at{};
};

// The reason of an order whose saga took longer than its reservation holds.
inline constexpr std::string_view expired_reason = "RESERVATION_EXPIRED";

struct ParticipantHealth {
  bool reachable = false;   // it answers reads
  bool usable = false;      // and its probe writes: orders that need it are served
  bool writable = false;    // usable, and no write of work was refused lately
  bool slots_full = false;  // its server has no slot left for a prepared transaction
  bool recovered = false;   // its first recovery has run since start
  std::optional<std::size_t> in_doubt_branches;  // prepared, ours; nothing: it cannot be seen now
  double in_doubt_oldest_seconds = 0;            // of them
  std::string last_error;                        // the first failure of this outage; empty: none
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual asio::awaitable<SubmitResult> submit(std::shared_ptr<const Operation> operation,
                                               SubmitOptions options) = 0;
  virtual std::optional<PendingOrder> pending(const std::string& order_id) const = 0;
  virtual std::vector<ActiveTransaction> active() const = 0;
  virtual std::map<std::string, ParticipantHealth> health() const = 0;  // by participant, and "log"
  // Log reached, epoch raised, first recovery done everywhere; but for what a degraded mode spares.
  virtual bool ready() const = 0;
  virtual bool draining() const = 0;  // SIGTERM was received
  // As last read from the log; another coordinator's change is seen with the next renewal of the
  // lease.
  virtual DegradedModes degraded() const = 0;
  // Durable for all coordinators when it is done. A failure with outcome_unknown may still take
  // effect; it may be sent again.
  virtual asio::awaitable<Result<Done>> set_degraded(std::string participant, bool on) = 0;
};

}  // namespace txcoord::engine
