// A model of the services' databases and of the log, as sagas see them: effects, barriers, states.
// Every request is atomic here, and one whose answer is lost may have happened, or happens late.
//
// As in world.hpp, the order of things is not enforced, it is watched: what breaks a rule is done
// as a database would do it, and written down as a violation.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "txcoord/protocol/saga.hpp"

namespace txcoord::saga_sim {

// One client request: one saga.
enum class What : std::uint8_t { place, cancel, accepted, pay_later, both_later };
struct Wish {
  std::string saga;
  What what = What::place;
  std::string order;
};
const protocol::SagaPlan& plan_of(What what);

// What an order takes, and whether a carrier takes it.
struct Size {
  std::int64_t quantity = 1, amount = 10;
  bool carried = true;
};

// What is run: what there is at the start, and what clients ask for, all at the same time.
struct Skeleton {
  std::string name;
  std::int64_t available = 0, balance = 0;
  std::vector<Wish> wishes;
  std::map<std::string, Size> sizes{};            // by order; else the default
  std::map<std::string, std::string> standing{};  // orders from before, complete: their status
  std::size_t compensations_refused = 0;          // until a person has mended it
};

// What databases and participants promise. Each can be taken away, to see that it is needed and
// that its loss is noticed.
struct Promises {
  bool repeated_step_is_known = true;      // a barrier row answers a step that comes again
  bool refusal_is_known = true;            // … also one that was refused
  bool one_reason = true;                  // a failed order keeps its reason, and tells it
  bool compensation_bars_the_late = true;  // an empty compensation leaves a row for the step
  bool log_never_goes_back = true;         // progress() is compared
  bool log_knows_the_owner = true;         // the fence
};

enum class Outcome : std::uint8_t { done, refused, skipped };
struct Row {
  Outcome outcome = Outcome::done;
  std::string reason;
};

struct Message {
  protocol::SagaActionKind kind = protocol::SagaActionKind::run;
  std::uint64_t epoch = 0;  // who sent it
  std::string saga, order;
  std::string step, undoes;          // run, undo: what is to be done; what that undoes
  std::string status, current_step;  // record
  std::string reason;                // record; undo: why
  std::uint32_t progress = 0;        // record
  bool confirmed = false;            // record: the key's outcome
};
std::string text_of(const Message& message);

struct Answer {
  enum Kind : std::uint8_t { done, refused, barred, not_ours } kind = done;
  std::string reason{};
};

struct LogEntry {
  What what = What::place;
  std::string order;
  std::uint64_t owner = 1;
  std::string status, current_step, reason;
  std::uint32_t progress = 0;
  bool confirmed = false;  // under its key, for ever

  bool ended() const {
    return status == protocol::saga_completed || status == protocol::saga_failed;
  }
};

struct OrderRow {
  std::string status, reason;
};
// A row of another service: it stands until it is undone, and is never made twice.
struct Effect {
  bool stands = false;
  int made = 0;
};

class World {
 public:
  World(const Skeleton& skeleton, Promises promises, bool traced);

  Answer execute(const Message& message);

  // The expirer, in its two transactions. True: the order is FAILED and its stock is to be freed.
  bool expire_order(const std::string& order);
  void free_expired(const std::string& order);

  void post_late(const Message& message);
  std::size_t late() const { return late_.size(); }
  void land(std::size_t index);

  const Size& size_of(const std::string& order) const;
  void note(std::string_view line);
  void note(std::string_view what, const Message& message);
  void violation(const std::string& line);

  std::int64_t available = 0, balance = 0;
  std::map<std::string, OrderRow> orders;
  std::map<std::string, Effect> reservations, payments, shipments;  // by order
  std::map<std::string, LogEntry> log;                              // by saga
  std::vector<std::string> violations, trace;

 private:
  Answer record(const Message& message);
  Answer run(const Message& message);
  Answer undo(const Message& message);
  Answer judge(const Message& message) const;
  void apply(const std::string& step, const Message& message);
  void take(std::map<std::string, Effect>& effects, const Message& message);
  bool was_due(const Message& message) const;
  bool give_back(std::map<std::string, Effect>& effects, const Message& message);
  void fail_order(const Message& message);
  void watch_order_of_steps(const Message& message);
  const Row* barrier(const std::string& saga, const std::string& step) const;

  const Skeleton& skeleton_;
  Promises promises_;
  bool traced_;
  std::size_t compensations_refused_ = 0;
  std::map<std::pair<std::string, std::string>, Row> barriers_;  // by saga and step
  std::vector<Message> late_;
};

}  // namespace txcoord::saga_sim
