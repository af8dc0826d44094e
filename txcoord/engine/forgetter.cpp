#include "txcoord/engine/forgetter.hpp"

#include <algorithm>

#include "txcoord/base/logging.hpp"

namespace txcoord::engine {
namespace {

constexpr std::chrono::milliseconds flush_every{50};
constexpr int flushes_between_trims = 20;  // about a second
// A participant that is away for long does not make this process grow: what is dropped here goes
// with its decision.
constexpr std::size_t witnesses_waiting_max = 100000;
constexpr std::size_t batch_max = 2000;
constexpr std::size_t forgotten_at_once_max = 5000;

}  // namespace

Forgetter::Forgetter(asio::any_io_executor io, std::vector<Participant*> participants,
                     TransactionLog& log, Health& health, CrashPoints& crash, Metrics& metrics,
                     bool trim_witnesses)
    : participants_(std::move(participants)),
      log_(log),
      health_(health),
      crash_(crash),
      metrics_(metrics),
      trim_(trim_witnesses),
      ticker_(io) {}

void Forgetter::applied(const protocol::Gid& gid, std::vector<std::string> branches) {
  completing_.emplace(gid, std::move(branches));
}

asio::awaitable<void> Forgetter::run() {
  for (int round = 1;; ++round) {
    auto pause = ticker_.wait(flush_every);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
    auto flush = flush_completions();
    co_await std::move(flush);
    if (round % flushes_between_trims != 0) continue;
    auto trim = trim_witnesses();
    co_await std::move(trim);
  }
}

asio::awaitable<void> Forgetter::flush_completions() {
  std::vector<protocol::Gid> batch;
  for (const auto& [gid, branches] : completing_) {
    if (batch.size() == batch_max) break;
    batch.push_back(gid);
  }
  if (batch.empty()) co_return;
  crash_.reach("complete.before");
  auto work = log_.complete(batch);
  const auto reply = co_await std::move(work);
  if (!reply) {
    health_.failed(log_name, reply.failure());
    co_return;  // they stay in completing_: next time
  }
  crash_.reach("complete.after");
  const std::set<protocol::Gid> aborted(reply.value().begin(), reply.value().end());
  for (const auto& gid : batch) {
    const auto entry = completing_.find(gid);
    if (entry == completing_.end()) continue;
    if (aborted.contains(gid)) {
      auto showing = show_aborted(gid, entry->second);
      const bool shown = co_await std::move(showing);
      if (shown) completing_.erase(gid);
      continue;  // its witnesses stay: they are what a person looks at
    }
    for (const auto& branch : entry->second) {
      auto& waiting = witnesses_[branch];
      if (trim_ && waiting.size() < witnesses_waiting_max) waiting.push_back(gid);
    }
    completing_.erase(entry);
  }
}

// Every branch is committed, and the log says abort: it lost the decision, and somebody proved its
// absence. Never silent. True once it is durable; else the next flush finds it again.
asio::awaitable<bool> Forgetter::show_aborted(protocol::Gid gid,
                                              std::vector<std::string> branches) {
  const std::string text = protocol::format(gid);
  for (const auto& branch : branches) {
    auto recording =
        log_.record_heuristic(gid, branch, "committed as decided, while the log says abort");
    const auto recorded = co_await std::move(recording);
    if (!recorded) {
      health_.failed(log_name, recorded.failure());
      co_return false;
    }
  }
  for (const auto& branch : branches) {
    metrics_.heuristic_outcome();
    metrics_.recovery_action("heuristic");
    logging::error("heuristic outcome: a branch is committed, while the log says abort",
                   {{"gid", std::string_view(text)}, {"participant", std::string_view(branch)}});
  }
  co_return true;
}

asio::awaitable<void> Forgetter::trim_witnesses() {
  if (!trim_) co_return;
  for (Participant* participant : participants_) {
    const auto entry = witnesses_.find(participant->name());
    if (entry == witnesses_.end() || entry->second.empty() ||
        !health_.reachable(participant->name()))
      continue;
    std::vector<protocol::Gid> gids = std::move(entry->second);
    entry->second.clear();
    auto work = participant->trim_witnesses(gids);
    const auto reply = co_await std::move(work);
    if (reply) {
      crash_.reach("forget.after");
      continue;
    }
    health_.failed(participant->name(), reply.failure());
    auto& waiting = witnesses_[std::string(participant->name())];
    if (waiting.size() + gids.size() <= witnesses_waiting_max)
      waiting.insert(waiting.end(), gids.begin(), gids.end());
  }
}

// Ends: each further try leaves out one participant more.
asio::awaitable<void> Forgetter::forget_old(std::chrono::seconds keep) {
  std::vector<std::string> away;
  for (const Participant* participant : participants_)
    if (!health_.reachable(participant->name())) away.emplace_back(participant->name());
  bool again = true;
  while (again) {
    auto forgetting = forget_some(keep, away);
    again = co_await std::move(forgetting);
  }
}

// A witness is deleted because the decision, as it stands in the log, is complete: every branch of
// the gid is committed, and that is durable (rule 6 of recovery_plan.hpp). That a log that went
// back later may lack the completion does not matter here: no branch of the gid is prepared any
// more, so nobody will ask for this witness. True: a participant failed and is in `away` now; what
// it has no part in must not wait behind what it has, so try again.
asio::awaitable<bool> Forgetter::forget_some(std::chrono::seconds keep,
                                             std::vector<std::string>& away) {
  auto asking = log_.complete_before(keep, away, forgotten_at_once_max);
  const auto old = co_await std::move(asking);
  if (!old) {
    health_.failed(log_name, old.failure());
    co_return false;
  }
  std::map<std::string, std::vector<protocol::Gid>, std::less<>> by_participant;
  for (const auto& decision : old.value())
    for (const auto& name : decision.participants) by_participant[name].push_back(decision.gid);
  std::set<std::string> failed;
  for (Participant* participant : participants_) {
    const auto entry = by_participant.find(participant->name());
    if (entry == by_participant.end()) continue;
    auto work = participant->trim_witnesses(entry->second);
    const auto reply = co_await std::move(work);
    if (reply) continue;
    health_.failed(participant->name(), reply.failure());
    failed.emplace(participant->name());
  }
  std::vector<protocol::Gid> gids;
  for (const auto& decision : old.value())
    if (std::ranges::none_of(decision.participants,
                             [&](const auto& name) { return failed.contains(name); }))
      gids.push_back(decision.gid);
  if (!gids.empty()) {
    auto forgetting = log_.forget(std::move(gids));
    const auto forgotten = co_await std::move(forgetting);
    if (!forgotten) health_.failed(log_name, forgotten.failure());
    if (!forgotten) co_return false;
  }
  away.insert(away.end(), failed.begin(), failed.end());
  co_return !failed.empty();
}

}  // namespace txcoord::engine
