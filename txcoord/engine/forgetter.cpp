#include "txcoord/engine/forgetter.hpp"

#include "txcoord/base/logging.hpp"

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
                     TransactionLog& log, Health& health, Fences& fences, CrashPoints& crash,
                     bool trim_witnesses)
    : participants_(std::move(participants)),
      log_(log),
      health_(health),
      fences_(fences),
      crash_(crash),
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
    if (!trim_ || round % flushes_between_trims != 0) continue;
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
  auto work = log_.complete(fences_.log_owner(), batch);
  const auto reply = co_await std::move(work);
  if (!reply) {
    health_.failed(log_name, reply.failure());
    co_return;  // they stay in completing_: next time
  }
  crash_.reach("complete.after");
  for (const auto& gid : batch) {
    const auto entry = completing_.find(gid);
    if (entry == completing_.end()) continue;
    for (const auto& branch : entry->second) {
      auto& waiting = witnesses_[branch];
      if (trim_ && waiting.size() < witnesses_waiting_max) waiting.push_back(gid);
    }
    completing_.erase(entry);
  }
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
  for (Participant* participant : participants_) {
    const auto entry = witnesses_.find(participant->name());
    if (entry == witnesses_.end() || entry->second.empty() ||
        !health_.reachable(participant->name()))
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

}  // namespace txcoord::engine
