// A model of the five databases, as the protocol sees them: what is locked, prepared, committed,
// decided, buried and forgotten. Only what PostgreSQL promises is in it: every request is atomic
// here, and one whose answer is lost may have happened, may happen late, or never (late messages).
//
// The rules of the protocol are not enforced, they are watched: a request that breaks one is done
// as a database would do it, and written down as a violation.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/counting_voter.hpp"
#include "txcoord/protocol/gid.hpp"
#include "txcoord/protocol/recovery_plan.hpp"
#include "txcoord/protocol/two_phase.hpp"

namespace txcoord::sim {

using protocol::Gid;

// One client request: its idempotency key, and what it wants of each participant it touches.
struct Operation {
  std::string key;
  std::map<std::string, Want> wants;
};
using Group = std::vector<Operation>;
using GroupPtr = std::shared_ptr<const Group>;

// What the decision's transaction writes.
struct Record {
  std::vector<std::string> participants;       // whose branches are prepared; none: refusals alone
  std::vector<std::string> confirmed;          // keys
  std::map<std::string, std::string> refused;  // key → reason
};

struct Request {
  protocol::ActionKind kind = protocol::ActionKind::finish;
  Gid gid{};
  std::string participant{};  // "log" for the log's
  protocol::ParticipantId voter = protocol::log_voter;
  GroupPtr group{};
  std::vector<bool> mask{};
  Record record{};
  // A decision in flight that has passed the fence and written its row, but not committed: it holds
  // both, so settle() and a raise of the epoch wait for it.
  bool written = false;
};

struct Branch {
  GroupPtr group;
  std::vector<bool> survivors;
};

struct Database {
  Stock stock;
  std::optional<Gid> locked_by;  // one lock for all rows: groups are judged one after another
  std::map<Gid, Branch> open;    // voted, neither prepared nor ended
  std::map<Gid, Branch> prepared;
  std::set<Gid> witnesses;
  std::map<std::string, std::vector<Gid>> effects;  // key → the gids that committed it here
};

struct Decision {
  protocol::Outcome outcome = protocol::Outcome::commit;
  Record record{};
  bool complete = false, heuristic = false;
};

struct Stored {
  bool confirmed = false;
  std::string reason;
};

struct LogDatabase {
  std::map<Gid, Decision> decisions;
  std::map<std::string, Stored> outcomes;       // by key, committed
  std::map<Gid, std::set<std::string>> claims;  // keys of open transactions
  std::map<std::string, std::uint64_t> epochs;
};

struct Done {
  bool ok = true;
  bool fenced = false;
  protocol::Votes votes{};
  protocol::Outcome outcome = protocol::Outcome::abort;
};

class World {
 public:
  // `traced`: keep a line for everything that happens (most of a run's time goes there).
  World(std::map<std::string, Stock> stocks, bool traced);

  // Whether the request waits for a lock that somebody else holds.
  bool blocked(const Request& request) const;
  // Precondition: not blocked. ok: done, found, true; else refused, not found, false.
  Done execute(const Request& request);
  // A session that ends without having prepared or decided: rolled back, locks gone. Nothing for a
  // request that has no session of the group's own (settle, COMMIT PREPARED), or one still in use.
  void end_session(const Request& request);

  bool raise_blocked(const std::string& coordinator) const;
  std::uint64_t raise_epoch(const std::string& coordinator);

  // A failover that loses what was prepared.
  void lose_prepared(const Gid& gid, const std::string& participant);

  std::vector<Gid> prepared(const std::string& participant) const;
  std::map<Gid, protocol::Outcome> outcomes_of(const std::vector<Gid>& gids) const;

  // Requests whose sender no longer waits: they happen when they happen, or not at all.
  void post_late(const Request& request) { late_.push_back(request); }
  const std::vector<Request>& late() const { return late_; }
  void end_late(std::size_t index, bool happens);

  std::map<std::string, Database> databases;
  LogDatabase log;
  std::vector<std::string> violations;
  std::vector<std::string> trace;
  bool lost_state = false;  // lose_prepared() was called: a heuristic outcome is right

  void note(std::string_view line);
  void note(std::string_view what, const Request& request);
  void violation(const std::string& line);

 private:
  Done vote(const Request& request);
  Done claim(const Request& request);
  Done prepare(const Request& request);
  Done decide(const Request& request);
  Done settle(const Request& request);
  Done commit(const Request& request);
  Done roll_back(const Request& request);
  bool has_written_decision(const Gid& gid) const;
  bool session_in_use(const Gid& gid, const std::string& participant) const;

  bool traced_;
  std::vector<Request> late_;
};

std::string text_of(const Request& request);

}  // namespace txcoord::sim
