// A coordinator process in the model: the production Saga for each saga it owns, its messages, and
// what can go wrong with each of them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/saga_world.hpp"

namespace txcoord::saga_sim {

// What becomes of a message, or of the process while it is under way.
enum class Fault : std::uint8_t {
  none,
  refused,   // answered: not done
  conflict,  // … deadlock, lock timeout
  unanswered_undone,
  unanswered_done,
  unanswered_late,
  delivered_twice,  // answered, and its copy lands late
  killed_undone,    // the process dies; all else that it sent lands late
  killed_done,
  killed_late,
  // While the message is under way:
  taken_over,    // another process adopts its sagas, and this one lives on
  abandoned,     // the saga is told to go no further
  expired,       // its reservation expires: order failed, stock freed, saga told
  expired_half,  // … the stock is freed later, and nobody tells the saga
};
std::string_view to_string(Fault fault);

// The faults that such a message can meet, without `none`.
const std::vector<Fault>& faults_of(protocol::SagaActionKind kind);

struct Reply {
  std::string saga;
  bool confirmed = false;
  std::string reason;
};

class Process {
 public:
  Process(World& world, std::uint64_t epoch, std::vector<Reply>& replies)
      : world_(world), replies_(replies), epoch_(epoch) {}

  // Takes every unfinished saga, and goes on where the log says.
  void adopt();

  const std::vector<Message>& pending() const { return pending_; }
  // The message is done or not done, as the fault says, and the answer reaches its saga.
  void answer(std::size_t index, Fault fault);
  void abandon(const std::string& saga, std::string reason);
  // It is killed while this message is under way. The rest of what it sent lands late.
  void die(std::size_t index, Fault fault);

 private:
  void step(const std::string& saga, const protocol::SagaEvent& event);
  void perform(const std::string& saga, const protocol::SagaAction& action);
  void send(const std::string& saga, const protocol::SagaAction& action);
  void reply(const std::string& saga);
  protocol::SagaEvent event_of(const Message& message, const Answer& answer) const;
  protocol::SagaEvent failure_of(const Message& message, Fault fault) const;

  World& world_;
  std::vector<Reply>& replies_;
  std::uint64_t epoch_;
  std::map<std::string, protocol::Saga> sagas_;
  std::vector<Message> pending_;
};

}  // namespace txcoord::saga_sim
