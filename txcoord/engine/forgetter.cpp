#include "txcoord/engine/forgetter.hpp"

#include <algorithm>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/backoff.hpp"
#include "txcoord/engine/blame.hpp"

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
                     TransactionLog& log, Health& health, Fences& fences, CrashPoints& crash,
                     Metrics& metrics, bool trim_witnesses)
    : participants_(std::move(participants)),
      log_(log),
      health_(health),
      fences_(fences),
      crash_(crash),
      metrics_(metrics),
      trim_(trim_witnesses),
      ticker_(io) {}

void Forgetter::applied(const protocol::Gid& gid, std::vector<std::string> branches) {
  completing_.emplace(gid, std::move(branches));
}

asio::awaitable<void> Forgetter::run() {
  for (int round = 1;; ++round) {
    auto pause = ticker_.wait(std::max(flush_every, jittered(backoff(failures_), jitter_)));
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
    auto flush = flush_completions();
    co_await std::move(flush);
    if (round % flushes_between_trims != 0) continue;
    auto trim = trim_witnesses();
    co_await std::move(trim);
  }
}

// One decision whose completion fails (a row that somebody holds, a trigger that raises) keeps no
// other from it: it is set aside, and tried again by itself, less and less often.
asio::awaitable<void> Forgetter::flush_completions() {
  const auto now = std::chrono::steady_clock::now();
  std::vector<protocol::Gid> batch;
  for (const auto& [gid, branches] : completing_) {
    if (batch.size() == batch_max) break;
    const auto aside = set_aside_.find(gid);
    if (aside == set_aside_.end() || aside->second.until <= now) batch.push_back(gid);
  }
  if (batch.empty()) co_return;
  crash_.reach("complete.before");
  std::vector<std::vector<protocol::Gid>> parts;
  parts.push_back(std::move(batch));
  while (!parts.empty()) {
    std::vector<protocol::Gid> part = std::move(parts.back());
    parts.pop_back();
    auto work = log_.complete(fences_.log_owner(), part);
    const auto reply = co_await std::move(work);
    if (reply) {
      failures_ = 0;
      auto completing = completed(std::move(part), reply.value());
      co_await std::move(completing);
      continue;
    }
    health_.failed(log_name, reply.failure());
    if (!may_lie_with_one(reply.failure())) {
      ++failures_;  // they stay in completing_: next time
      co_return;
    }
    if (part.size() == 1) {
      SetAside& aside = set_aside_[part.front()];
      aside.until = std::chrono::steady_clock::now() + jittered(backoff(++aside.tries), jitter_);
      continue;
    }
    auto [first, second] = halves(std::move(part));
    parts.push_back(std::move(second));
    parts.push_back(std::move(first));
  }
  crash_.reach("complete.after");
}

// It is durable: now the witnesses may go.
asio::awaitable<void> Forgetter::completed(std::vector<protocol::Gid> gids,
                                           std::vector<protocol::Gid> said_aborted) {
  const std::set<protocol::Gid> aborted(said_aborted.begin(), said_aborted.end());
  for (const auto& gid : gids) {
    set_aside_.erase(gid);
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
    auto recording = log_.record_heuristic(fences_.log_owner(), gid, branch,
                                           "committed as decided, while the log says abort");
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

// A witness proves what the log may lose: nobody deletes one after its work was taken over.
asio::awaitable<Result<Done>> Forgetter::trim_at(Participant& participant,
                                                 std::vector<protocol::Gid> gids) {
  auto raising = fences_.ensure(participant);
  const auto raised = co_await std::move(raising);
  if (!raised) co_return raised.failure();
  auto trimming = participant.trim_witnesses(std::move(gids), fences_.owner());
  const auto trimmed = co_await std::move(trimming);
  if (!trimmed && trimmed.failure().kind == FailureKind::fenced) {
    auto looking = fences_.look(participant);
    co_await std::move(looking);
  }
  co_return trimmed;
}

asio::awaitable<void> Forgetter::trim_witnesses() {
  if (!trim_) co_return;
  for (Participant* participant : participants_) {
    const auto entry = witnesses_.find(participant->name());
    if (entry == witnesses_.end() || entry->second.empty() || !health_.usable(participant->name()))
      continue;
    std::vector<protocol::Gid> gids = std::move(entry->second);
    entry->second.clear();
    auto work = trim_at(*participant, gids);
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
    if (!health_.usable(participant->name())) away.emplace_back(participant->name());
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
    auto work = trim_at(*participant, entry->second);
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
