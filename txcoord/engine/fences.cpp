#include "txcoord/engine/fences.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <memory>
#include <utility>

#include "txcoord/base/logging.hpp"

namespace txcoord::engine {
namespace {

// A participant that was restored to the past knows an older one: then this process starts again.
constexpr std::size_t former_max = 8;
constexpr int looks_max = 3;  // of one call

// The answers of all participants to one question at the start.
struct Asking {
  explicit Asking(const asio::any_io_executor& io)
      : done(io, asio::steady_timer::time_point::max()) {}
  std::uint64_t greatest = 0;
  std::size_t left = 0;
  asio::steady_timer done;  // cancelled by the last answer
};

asio::awaitable<void> ask_one(std::shared_ptr<Asking> asking, Participant& participant,
                              std::string installation, std::string coordinator) {
  auto reading = participant.fences(std::move(installation));
  const auto fences = co_await std::move(reading);
  if (fences) {
    for (const FenceOwner& fence : fences.value())
      if (fence.coordinator == coordinator)
        asking->greatest = std::max(asking->greatest, fence.epoch);
  }
  if (--asking->left == 0) asking->done.cancel();
}

}  // namespace

Fences::Fences(asio::any_io_executor io, std::vector<Participant*> participants,
               TransactionLog& log, Health& health, std::function<void(std::string)> fenced)
    : io_(std::move(io)),
      participants_(std::move(participants)),
      log_(log),
      health_(health),
      fenced_(std::move(fenced)) {}

asio::awaitable<std::uint64_t> Fences::greatest_epoch(std::string installation,
                                                      std::string coordinator) {
  const auto asking = std::make_shared<Asking>(io_);
  asking->left = participants_.size();
  for (Participant* participant : participants_) {
    auto one = ask_one(asking, *participant, installation, coordinator);
    asio::co_spawn(io_, std::move(one), [](const std::exception_ptr& defect) {
      if (defect) std::rethrow_exception(defect);
    });
  }
  if (asking->left > 0) {
    boost::system::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await asking->done.async_wait(token);
  }
  co_return asking->greatest;
}

void Fences::own(FenceOwner owner) {
  owner_ = std::move(owner);
  former_.clear();
  ++wanted_;
}

bool Fences::begin_generation(std::string incarnation) {
  const bool all = std::ranges::all_of(
      participants_, [&](const Participant* participant) { return raised(participant->name()); });
  if (!all) return false;
  former_.push_back(std::exchange(owner_.incarnation, std::move(incarnation)));
  if (former_.size() > former_max) former_.pop_front();
  ++wanted_;
  return true;
}

void Fences::require(const std::string& coordinator, std::uint64_t epoch) {
  // Our own is raised as what it is; nobody's: what was found again after a lost answer.
  if (coordinator.empty() || coordinator == owner_.coordinator) return;
  std::uint64_t& required = required_[coordinator];
  if (required >= epoch) return;
  required = epoch;
  ++wanted_;
}

asio::awaitable<bool> Fences::require_committed() {
  auto reading = log_.coordinators();
  const auto coordinators = co_await std::move(reading);
  if (!coordinators) {
    health_.failed(log_name, coordinators.failure());
    co_return false;
  }
  for (const auto& [coordinator, state] : coordinators.value()) require(coordinator, state.epoch);
  co_return true;
}

bool Fences::raised(std::string_view participant) const {
  const auto entry = raised_.find(participant);
  return entry != raised_.end() && entry->second == wanted_;
}

asio::awaitable<Result<Done>> Fences::ensure(Participant& participant) {
  Result<Done> done = Done{};
  for (int looks = 0; looks < looks_max && !raised(participant.name()); ++looks) {
    auto looking = look(participant);
    done = co_await std::move(looking);
    // Busy: more was required meanwhile.
    if (!done && done.failure().kind != FailureKind::busy) co_return done;
  }
  co_return done;
}

asio::awaitable<Result<Done>> Fences::look(Participant& participant) {
  const std::string name(participant.name());
  // What is required while this waits is raised by whoever asks next: a round of it at a time.
  const std::uint64_t wanted = wanted_;
  raised_.try_emplace(name, 0);
  auto reading = participant.fences(owner_.installation);
  auto standing = co_await std::move(reading);
  if (!standing && standing.failure().kind == FailureKind::not_found) {
    without_fences(name);
    raised_[name] = wanted;
    co_return Done{};
  }
  if (!standing) co_return standing.failure();
  auto raising = raise_missing(participant, std::move(standing).value());
  const auto done = co_await std::move(raising);
  if (!done) co_return done.failure();
  // Gone: it was away meanwhile, and is looked at once more.
  const auto entry = raised_.find(name);
  if (entry != raised_.end()) entry->second = std::max(entry->second, wanted);
  if (entry == raised_.end() || entry->second != wanted_)
    co_return Failure{FailureKind::busy, false, "", name + ": its fences changed meanwhile"};
  co_return Done{};
}

asio::awaitable<Result<Done>> Fences::raise_missing(Participant& participant,
                                                    std::vector<FenceOwner> standing) {
  const auto known = [&](const std::string& coordinator) -> FenceOwner {
    const auto found = std::ranges::find(standing, coordinator, &FenceOwner::coordinator);
    return found == standing.end() ? FenceOwner{} : *found;
  };
  const std::map<std::string, std::uint64_t> required = required_;
  for (const auto& [coordinator, epoch] : required) {
    if (known(coordinator).epoch >= epoch) continue;
    FenceOwner nobody{owner_.installation, coordinator, epoch, {}};
    auto raising = participant.raise_fence(std::move(nobody), {});
    const auto raised = co_await std::move(raising);
    if (!raised) co_return raised.failure();
    logging::info("a fence was raised", {{"participant", participant.name()},
                                         {"coordinator", std::string_view(coordinator)},
                                         {"epoch", static_cast<std::int64_t>(epoch)}});
  }
  auto own = raise_own(participant, known(owner_.coordinator));
  co_return co_await std::move(own);
}

bool Fences::holds_own(const FenceOwner& standing) const {
  return standing.epoch == owner_.epoch && standing.incarnation == owner_.incarnation;
}

asio::awaitable<Result<Done>> Fences::raise_own(Participant& participant, FenceOwner standing) {
  if (holds_own(standing)) co_return Done{};
  const bool former = standing.epoch == owner_.epoch &&
                      std::ranges::find(former_, standing.incarnation) != former_.end();
  const FenceOwner owner = owner_;
  auto raising = participant.raise_fence(owner, former ? standing.incarnation : std::string());
  const auto raised = co_await std::move(raising);
  if (!raised) co_return raised.failure();
  if (raised.value() == owner || holds_own(raised.value())) co_return Done{};
  // Another generation of this process may have been raised while this one was on its way.
  const bool ours = raised.value().epoch == owner_.epoch &&
                    std::ranges::find(former_, raised.value().incarnation) != former_.end();
  if (ours) co_return Failure{FailureKind::busy, false, "", "another generation is raised"};
  fenced_(std::string(participant.name()) + " knows a later process of this coordinator");
  co_return Failure{FailureKind::fenced, false, "", "the fence is above this process"};
}

asio::awaitable<bool> Fences::raise_everywhere() {
  for (Participant* participant : participants_) {
    auto raising = ensure(*participant);
    const auto raised = co_await std::move(raising);
    if (raised) continue;
    health_.failed(participant->name(), raised.failure());
    co_return false;
  }
  co_return true;
}

void Fences::without_fences(std::string_view participant) {
  if (std::exchange(lacks_fences_[std::string(participant)], true)) return;
  logging::warn(
      "the participant's version has no fences: what a stopped coordinator sends may be done there",
      {{"participant", participant}});
}

}  // namespace txcoord::engine
