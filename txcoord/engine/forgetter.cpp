#include "txcoord/engine/forgetter.hpp"

#include <algorithm>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/backoff.hpp"
#include "txcoord/engine/blame.hpp"

namespace txcoord::engine {
namespace {

constexpr std::chrono::milliseconds flush_every{50};
constexpr int flushes_between_trims = 20;  // about a second
// A participant that is away for long does not make this process grow: what is dropped here keeps
// its witness rows, which cost a few bytes each and prove what they prove.
constexpr std::size_t witnesses_waiting_max = 100000;
constexpr std::size_t batch_max = 2000;

}  // namespace

Forgetter::Forgetter(asio::any_io_executor io, std::vector<Participant*> participants,
                     TransactionLog& log, Health& health, CrashPoints& crash, bool trim_witnesses)
    : participants_(std::move(participants)),
      log_(log),
      health_(health),
      crash_(crash),
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
    if (!trim_ || round % flushes_between_trims != 0) continue;
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
    auto work = log_.complete(part);
    const auto reply = co_await std::move(work);
    if (reply) {
      failures_ = 0;
      completed(part);
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
void Forgetter::completed(const std::vector<protocol::Gid>& gids) {
  for (const auto& gid : gids) {
    set_aside_.erase(gid);
    const auto entry = completing_.find(gid);
    if (entry == completing_.end()) continue;
    for (const auto& branch : entry->second) {
      auto& waiting = witnesses_[branch];
      if (trim_ && waiting.size() < witnesses_waiting_max) waiting.push_back(gid);
    }
    completing_.erase(entry);
  }
}

asio::awaitable<void> Forgetter::trim_witnesses() {
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

}  // namespace txcoord::engine
