// The scheduler: which of the things that can happen next does.
#include "tests/sim/simulation.hpp"

#include <algorithm>
#include <memory>
#include <random>

#include "tests/sim/recovery.hpp"

namespace txcoord::sim {
namespace {

// Far above what any run needs: reaching it is a livelock.
constexpr std::size_t steps_max = 5000;
constexpr std::uint32_t conflict_retries = 2;

class Simulation {
 public:
  Simulation(const Skeleton& skeleton, const Options& options)
      : skeleton_(skeleton),
        options_(options),
        random_(options.seed),
        world_(skeleton.stocks, options.traced) {
    for (const Group& group : skeleton.groups)
      operations_.insert(operations_.end(), group.begin(), group.end());
  }

  Report run();

 private:
  std::size_t below(std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_);
  }
  bool chance(std::size_t of) { return below(of) == 0; }

  std::unique_ptr<Coordinator> start(const std::string& id);
  std::unique_ptr<Recovery> recovery_of(const Coordinator& coordinator);
  void bring_bystander();
  void work();
  void take_replies();
  bool disturb();
  void take_over();
  std::optional<std::size_t> next_request(const Coordinator& coordinator);
  Fault fault_for(const Request& request);
  void answer_one(Coordinator& coordinator, bool may_fail);
  void end_a_late_message();
  void await_fence(const std::string& coordinator);
  void recover();
  bool at_rest() const;
  void let_clients_retry();
  void finish();

  const Skeleton& skeleton_;
  const Options& options_;
  std::mt19937_64 random_;
  World world_;
  Group operations_;  // of all groups
  std::unique_ptr<Coordinator> first_, successor_;
  std::unique_ptr<Recovery> recovery_;   // of whoever finishes the work
  std::unique_ptr<Recovery> bystander_;  // of one that must leave it alone
  std::size_t recovery_share_ = 0;       // of ten turns: from now and then to nearly always
  bool dead_ = false, fence_wanted_ = false;
  std::vector<Reply> replies_;
  Report report_;
};

std::unique_ptr<Coordinator> Simulation::start(const std::string& id) {
  return std::make_unique<Coordinator>(world_, id, world_.raise_epoch(id), skeleton_.stages);
}

std::unique_ptr<Recovery> Simulation::recovery_of(const Coordinator& coordinator) {
  return std::make_unique<Recovery>(
      world_, coordinator.id(), coordinator.epoch(),
      [&coordinator] { return coordinator.active(); }, chance(2));
}

Report Simulation::run() {
  recovery_share_ = 1 + below(9);
  bring_bystander();
  first_ = start("c1");
  for (const Group& group : skeleton_.groups) first_->submit(group, conflict_retries);
  first_->start_next();
  if (chance(2)) recovery_ = recovery_of(*first_);  // the process's own timer, while the groups run
  work();
  take_replies();
  bystander_.reset();
  recover();
  let_clients_retry();
  finish();
  return std::move(report_);
}

void Simulation::bring_bystander() {
  if (options_.bystander == Bystander::none) return;
  const std::string id = options_.bystander == Bystander::predecessor ? "c1" : "c2";
  bystander_ = std::make_unique<Recovery>(
      world_, id, world_.raise_epoch(id), [] { return std::set<Gid>(); }, false);
}

// What clients were told by the first coordinator: each operation once, unless the process died.
void Simulation::take_replies() {
  replies_ = first_->replies();
  for (const Operation& operation : operations_) {
    const auto told = std::ranges::count(replies_, operation.key, &Reply::key);
    if (told > 1 || (told == 0 && !dead_))
      world_.violation("I10 " + operation.key + " was answered " + std::to_string(told) + " times");
  }
  report_.unavailable =
      static_cast<std::size_t>(std::ranges::count(replies_, Told::unavailable, &Reply::told));
}

// --- the first coordinator at work ---------------------------------------------------------------

void Simulation::work() {
  for (std::size_t turns = 0; !first_->idle(); ++turns) {
    if (turns == steps_max) return world_.violation("the group does not end");
    if (options_.crash_at == report_.steps) {
      first_->die(chance(2));
      dead_ = true;
      return;
    }
    if (options_.take_over_at == report_.steps) fence_wanted_ = true;
    if (fence_wanted_ && !successor_ && !world_.raise_blocked("c1")) take_over();
    if (!disturb()) answer_one(*first_, true);
  }
}

// Something that is not the coordinator's own: true if it took this turn.
bool Simulation::disturb() {
  if (!world_.late().empty() && chance(6)) {
    end_a_late_message();
    return true;
  }
  if (below(10) >= recovery_share_) return false;
  if (bystander_ && chance(2)) {
    bystander_->step(false);
    return true;
  }
  if (!recovery_) return false;
  recovery_->step(options_.faults_per_mille > 0 && chance(8));
  return true;
}

void Simulation::take_over() {
  successor_ = start("c2");
  world_.raise_epoch("c1");
  recovery_ = recovery_of(*successor_);
  // The first may be silent for so long that its work is finished and forgotten when it wakes.
  for (std::size_t turns = below(120); turns > 0; --turns) recovery_->step(false);
}

std::optional<std::size_t> Simulation::next_request(const Coordinator& coordinator) {
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < coordinator.pending().size(); ++i)
    if (!world_.blocked(coordinator.pending()[i])) ready.push_back(i);
  if (ready.empty()) return std::nullopt;
  // A third of the seeds each: in the order asked, in the opposite order, at random.
  if (options_.seed % 3 == 0) return ready.front();
  if (options_.seed % 3 == 1) return ready.back();
  return ready[below(ready.size())];
}

Fault Simulation::fault_for(const Request& request) {
  const std::vector<Fault> possible = faults_of(request.kind);
  std::size_t chosen = possible.size();
  if (options_.fault_at == report_.steps) {
    report_.faults_there = possible.size();
    chosen = options_.fault;
  } else if (!possible.empty() && below(1000) < options_.faults_per_mille) {
    chosen = below(possible.size());
  }
  if (chosen >= possible.size()) return Fault::none;
  report_.met.emplace(request.kind, possible[chosen]);
  return possible[chosen];
}

void Simulation::answer_one(Coordinator& coordinator, bool may_fail) {
  const auto index = next_request(coordinator);
  if (index) {
    const Fault fault = may_fail ? fault_for(coordinator.pending()[*index]) : Fault::none;
    if (may_fail) ++report_.steps;
    return coordinator.answer(*index, fault);
  }
  // All wait for locks. Either a late message holds them, or their holder waits for its recovery.
  if (!world_.late().empty()) return end_a_late_message();
  if (recovery_ && !chance(8)) return recovery_->step(false);
  coordinator.answer(0, Fault::refused_deadlock);  // lock_timeout
}

void Simulation::end_a_late_message() { world_.end_late(below(world_.late().size()), chance(2)); }

// --- recovery
// --------------------------------------------------------------------------------------

// Raising an epoch waits for the decisions in flight that hold it.
void Simulation::await_fence(const std::string& coordinator) {
  while (world_.raise_blocked(coordinator)) end_a_late_message();
}

void Simulation::recover() {
  if (dead_ && !successor_) {
    await_fence("c1");
    successor_ = start(chance(2) ? "c1" : "c2");
    if (successor_->id() == "c2") world_.raise_epoch("c1");
  }
  const Coordinator& survivor = successor_ ? *successor_ : *first_;
  recovery_ = recovery_of(survivor);
  for (std::size_t turns = 0; !at_rest(); ++turns) {
    if (turns == steps_max) return world_.violation("I7 recovery does not come to rest");
    if (!world_.late().empty() && chance(4))
      end_a_late_message();
    else
      recovery_->step(options_.faults_per_mille > 0 && chance(8));
  }
}

bool Simulation::at_rest() const {
  if (!world_.late().empty() || recovery_->rounds() == 0) return false;
  for (const auto& [participant, database] : world_.databases)
    if (!database.prepared.empty()) return false;
  return std::ranges::all_of(world_.log.decisions, [](const auto& row) {
    return row.second.outcome == protocol::Outcome::abort || row.second.complete ||
           row.second.heuristic;
  });
}

// Clients that were told nothing, or 503, send the same keys again: everything works now.
void Simulation::let_clients_retry() {
  const auto answered = [this](const Operation& operation) {
    return std::ranges::any_of(replies_, [&](const Reply& reply) {
      return reply.key == operation.key && reply.told != Told::unavailable &&
             reply.told != Told::retry;
    });
  };
  Coordinator& survivor = successor_ ? *successor_ : *first_;
  const std::size_t told_before = survivor.replies().size();
  Group unanswered;
  for (const Operation& operation : operations_)
    if (!answered(operation)) unanswered.push_back(operation);
  if (!unanswered.empty()) survivor.submit(unanswered, 0);
  survivor.start_next();
  for (std::size_t turns = 0; !survivor.idle(); ++turns) {
    if (turns == steps_max) return world_.violation("I7 a client's second try does not end");
    answer_one(survivor, false);
  }
  replies_.insert(replies_.end(),
                  survivor.replies().begin() + static_cast<std::ptrdiff_t>(told_before),
                  survivor.replies().end());
  for (const Operation& operation : operations_)
    if (!answered(operation)) world_.violation("I7 no answer to a second try: " + operation.key);
}

void Simulation::finish() {
  report_.violations = world_.violations;
  for (auto& violation : check_all({world_, skeleton_.stocks, operations_, replies_}))
    report_.violations.push_back(std::move(violation));
  report_.trace = std::move(world_.trace);
}

}  // namespace

Report simulate(const Skeleton& skeleton, const Options& options) {
  return Simulation(skeleton, options).run();
}

std::string explain(const Skeleton& skeleton, Options options) {
  options.traced = true;
  const Report report = simulate(skeleton, options);
  std::string text = skeleton.name + ", seed " + std::to_string(options.seed);
  if (options.fault_at)
    text += ", fault " + std::to_string(options.fault) + " at request " +
            std::to_string(*options.fault_at);
  if (options.faults_per_mille > 0)
    text += ", faults " + std::to_string(options.faults_per_mille) + " in 1000";
  if (options.crash_at) text += ", killed at request " + std::to_string(*options.crash_at);
  if (options.take_over_at)
    text += ", taken over at request " + std::to_string(*options.take_over_at);
  if (options.bystander == Bystander::live_coordinator) text += ", beside another coordinator";
  if (options.bystander == Bystander::predecessor) text += ", beside its predecessor";
  for (const std::string& line : report.trace) text += "\n  " + line;
  for (const std::string& line : report.violations) text += "\n  => " + line;
  return text;
}

}  // namespace txcoord::sim
