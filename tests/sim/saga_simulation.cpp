// The scheduler: which of the things that can happen next does.
#include "tests/sim/saga_simulation.hpp"

#include <memory>
#include <random>

namespace txcoord::saga_sim {
namespace {

// Far above what any run needs: reaching it is a livelock.
constexpr std::size_t steps_max = 5000;

class Simulation {
 public:
  Simulation(const Skeleton& skeleton, const Options& options)
      : skeleton_(skeleton),
        options_(options),
        random_(static_cast<std::minstd_rand::result_type>(options.seed * 7919 + 1)),
        world_(skeleton, options.promises, options.traced) {}

  Report run();

 private:
  std::size_t below(std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_);
  }
  bool chance(std::size_t of) { return below(of) == 0; }

  void start_process();
  std::size_t pending() const;
  bool lands_now();
  void answer_one();
  Fault fault_for(const Message& message);
  void kill(std::size_t process, std::size_t index, Fault fault);
  void expire(const Message& message, Process& process, Fault fault);
  void finish();

  const Skeleton& skeleton_;
  const Options& options_;
  std::minstd_rand random_;
  World world_;
  std::vector<Reply> replies_;
  std::vector<std::unique_ptr<Process>> processes_;  // the last one owns all that has not ended
  std::vector<std::string> expired_;                 // orders whose stock is still to be freed
  Report report_;
};

void Simulation::start_process() {
  processes_.push_back(std::make_unique<Process>(world_, processes_.size() + 1, replies_));
  processes_.back()->adopt();
}

std::size_t Simulation::pending() const {
  std::size_t count = 0;
  for (const auto& process : processes_) count += process->pending().size();
  return count;
}

// A third of the seeds each: what is late lands at once, at the very end, at random.
bool Simulation::lands_now() {
  if (pending() == 0) return true;
  if (options_.seed % 3 == 0) return true;
  return options_.seed % 3 == 2 && chance(5);
}

Report Simulation::run() {
  start_process();
  while (pending() > 0 || world_.late() > 0 || !expired_.empty()) {
    if (report_.steps == steps_max) {
      world_.violation("I8 the sagas do not end");
      break;
    }
    if (world_.late() > 0 && lands_now()) {
      world_.land(below(world_.late()));
    } else if (!expired_.empty() && lands_now()) {
      world_.free_expired(expired_.back());
      expired_.pop_back();
    } else if (pending() > 0) {
      answer_one();
    }
  }
  finish();
  return std::move(report_);
}

void Simulation::answer_one() {
  std::size_t index = below(pending()), process = 0;
  while (index >= processes_[process]->pending().size())
    index -= processes_[process++]->pending().size();
  const Message message = processes_[process]->pending()[index];
  const Fault fault = fault_for(message);
  ++report_.steps;
  switch (fault) {
    case Fault::killed_undone:
    case Fault::killed_done:
    case Fault::killed_late: return kill(process, index, fault);
    // These leave the message under way: it can meet another fault.
    case Fault::taken_over: return start_process();
    case Fault::abandoned: return processes_[process]->abandon(message.saga, "SHUTDOWN");
    case Fault::expired:
    case Fault::expired_half: return expire(message, *processes_[process], fault);
    default: return processes_[process]->answer(index, fault);
  }
}

Fault Simulation::fault_for(const Message& message) {
  const std::vector<Fault>& possible = faults_of(message.kind);
  std::size_t chosen = possible.size();
  for (const Planned& planned : options_.faults) {
    if (planned.at != report_.steps) continue;
    report_.faults_there.push_back(possible.size());
    chosen = planned.fault;
  }
  if (options_.faults_per_mille > 0 && below(1000) < options_.faults_per_mille)
    chosen = below(possible.size());
  if (chosen >= possible.size()) return Fault::none;
  report_.met.emplace(message.kind, possible[chosen]);
  return possible[chosen];
}

void Simulation::kill(std::size_t process, std::size_t index, Fault fault) {
  const bool is_owner = process + 1 == processes_.size();
  processes_[process]->die(index, fault);
  if (is_owner) start_process();
}

void Simulation::expire(const Message& message, Process& process, Fault fault) {
  if (!world_.expire_order(message.order)) return;
  if (fault == Fault::expired_half) {
    expired_.push_back(message.order);
    return;
  }
  world_.free_expired(message.order);
  process.abandon(message.saga, "RESERVATION_EXPIRED");
}

void Simulation::finish() {
  report_.violations = world_.violations;
  for (auto& violation : check_all({world_, skeleton_, replies_}))
    report_.violations.push_back(std::move(violation));
  for (const auto& [id, entry] : world_.log)
    ++(entry.status == protocol::saga_completed ? report_.completed : report_.failed);
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
  for (const Planned& planned : options.faults)
    text +=
        ", fault " + std::to_string(planned.fault) + " at message " + std::to_string(planned.at);
  if (options.faults_per_mille > 0)
    text += ", faults " + std::to_string(options.faults_per_mille) + " in 1000";
  for (const std::string& line : report.trace) text += "\n  " + line;
  for (const std::string& line : report.violations) text += "\n  => " + line;
  return text;
}

}  // namespace txcoord::saga_sim
