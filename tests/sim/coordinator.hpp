// A coordinator process in the model: the production TwoPhase, its requests to the databases, and
// what can go wrong with each of them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/world.hpp"

namespace txcoord::sim {

// What becomes of one request. Where an answer is missing, the request was done, or was not, or
// will be, or may be.
enum class Fault : std::uint8_t {
  none,
  refused,  // answered: not done
  refused_deadlock,
  refused_poison,
  unanswered_undone,
  unanswered_done,
  unanswered_late,
  unanswered_written,  // a decision that holds the fence and its row, and commits later or never
  state_lost,          // a failover lost the prepared branch
};
std::string to_string(Fault fault);

// The faults that a request of this kind can meet, without `none`.
std::vector<Fault> faults_of(protocol::ActionKind kind);

// What a client was told, in the order it was told.
enum class Told : std::uint8_t { confirmed, refused, duplicate, unavailable, retry };
struct Reply {
  Gid gid;
  std::string key, reason;
  Told told = Told::unavailable;
};

class Coordinator {
 public:
  // `stages`: as in GroupPlan, by name; empty: all voters at once.
  Coordinator(World& world, std::string id, std::uint64_t epoch,
              std::vector<std::vector<std::string>> stages);

  void submit(Group group, std::uint32_t conflict_retries);
  bool idle() const { return !machine_ && queue_.empty() && pending_.empty(); }
  // Starts the next group if there is one and none is active.
  void start_next();

  const std::vector<Request>& pending() const { return pending_; }
  // The request is done or not done, as the fault says, and the answer reaches the machine.
  void answer(std::size_t index, Fault fault);

  // The process dies. Its requests are in the network or in a backend: each is posted late, a
  // decision perhaps already written.
  void die(bool decision_is_written);

  const std::set<Gid>& active() const { return active_; }  // what recovery reads as A
  const std::string& id() const { return id_; }
  std::uint64_t epoch() const { return epoch_; }
  const std::vector<Reply>& replies() const { return replies_; }

 private:
  struct Job {
    GroupPtr group;
    std::uint32_t conflict_retries = 0;
    bool refuse_alone = false;
  };

  protocol::GroupPlan plan_of(const Job& job) const;
  void step(const protocol::Event& event);
  void perform(const protocol::Action& action);
  void resubmit(protocol::ActionKind kind);
  void reply();
  void finish();
  Request request_of(const protocol::Action& action) const;
  Record record() const;
  bool may_write(const Request& request) const;
  void post_late(Request request, bool written);
  void answer_refused(const Request& request, Fault fault);
  void answer_unanswered(const Request& request);
  void answer_done(const Request& request, const Done& done);

  World& world_;
  std::string id_;
  std::uint64_t epoch_;
  std::vector<std::vector<std::string>> stages_;
  std::vector<std::string> participants_;
  std::uint64_t seq_ = 0;
  std::deque<Job> queue_;
  Job job_;
  Gid gid_;
  std::optional<protocol::TwoPhase> machine_;
  bool finished_ = false;
  std::set<Gid> active_;
  std::vector<Request> pending_;
  std::vector<Reply> replies_;
};

}  // namespace txcoord::sim
