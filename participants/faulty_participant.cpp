// See faulty_participant.hpp.
#include "participants/faulty_participant.hpp"

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

namespace txcoord {
namespace {

constexpr std::array<std::pair<FaultMode, std::string_view>, 4> mode_names{{
    {FaultMode::error, "error"},
    {FaultMode::lost_answer, "lost_answer"},
    {FaultMode::refuse, "refuse"},
    {FaultMode::down, "down"},
}};

constexpr std::string_view on_demand = "a fault on demand";

Failure fault(FailureKind kind, bool outcome_unknown) {
  return {kind, outcome_unknown, "", std::string(on_demand)};
}

asio::awaitable<void> pause(std::chrono::milliseconds delay) {
  if (delay <= std::chrono::milliseconds(0)) co_return;
  auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, delay);
  auto token = asio::use_awaitable;
  co_await timer.async_wait(token);
}

template <class T>
asio::awaitable<Result<T>> failed(Failure failure) {
  co_return failure;
}

// Whether whoever is told to refuse is asked at all: what is shipped by hand is no carrier's.
bool asks_whom_the_fault_is_of(std::string_view participant, const Operation& operation) {
  return operation.kind == OperationKind::place &&
         !(participant == "shipping" && operation.place.ship_by_hand);
}

}  // namespace

std::string_view to_string(FaultMode mode) {
  for (const auto& [value, name] : mode_names) {
    if (value == mode) return name;
  }
  return "?";
}

std::optional<FaultMode> parse_fault_mode(std::string_view text) {
  for (const auto& [value, name] : mode_names) {
    if (name == text) return value;
  }
  return std::nullopt;
}

std::string_view refusal_of(std::string_view participant) {
  if (participant == "inventory") return "OUT_OF_STOCK";
  if (participant == "payment") return "CARD_DECLINED";
  if (participant == "shipping") return "CARRIER_UNAVAILABLE";
  return {};
}

FaultyParticipant::Fate FaultyParticipant::draw(const ParticipantFaults& faults) {
  switch (faults.mode) {
    case FaultMode::error: return hit(faults.failure_rate) ? Fate::not_sent : Fate::made;
    case FaultMode::lost_answer: return hit(faults.failure_rate) ? Fate::answer_lost : Fate::made;
    case FaultMode::refuse: return Fate::made;
    case FaultMode::down: return Fate::unavailable;
  }
  return Fate::made;
}

Failure FaultyParticipant::down_failure() const { return fault(FailureKind::unavailable, false); }

// Final: a fault is no other operation's doing. Whoever is refused so is no candidate any more, so
// that judging again needs no fault.
void FaultyParticipant::refuse_some(const ParticipantFaults& faults, const Operations& operations,
                                    protocol::Votes& votes) {
  const std::string_view reason = refusal_of(name());
  if (faults.mode != FaultMode::refuse || reason.empty()) return;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (!asks_whom_the_fault_is_of(name(), *operations[i]) || !hit(faults.failure_rate)) continue;
    votes[i] = {protocol::Answer::no, true, std::string(reason), std::string(on_demand)};
  }
}

void FaultyParticipant::refuse_some(const ParticipantFaults& faults, StepRequest& request) {
  const std::string_view reason = refusal_of(name());
  if (faults.mode != FaultMode::refuse || reason.empty() || !request.undoes.empty()) return;
  for (StepCall& call : request.calls) {
    if (asks_whom_the_fault_is_of(name(), *call.operation) && hit(faults.failure_rate))
      call.refuse_as = reason;
  }
}

asio::awaitable<Result<protocol::Votes>> FaultyParticipant::vote(protocol::Gid gid,
                                                                 Operations operations) {
  if (!faults_) return inner_.vote(std::move(gid), std::move(operations));
  return faulty_vote(*faults_, std::move(gid), std::move(operations));
}

asio::awaitable<Result<protocol::Votes>> FaultyParticipant::faulty_vote(ParticipantFaults faults,
                                                                        protocol::Gid gid,
                                                                        Operations operations) {
  auto waiting = pause(faults.delay);
  co_await std::move(waiting);
  const Fate fate = draw(faults);
  if (fate == Fate::unavailable) co_return down_failure();
  if (fate == Fate::not_sent) co_return fault(FailureKind::error, false);
  auto voting = inner_.vote(gid, operations);
  auto votes = co_await std::move(voting);
  if (!votes) co_return votes.failure();
  if (fate == Fate::answer_lost) {
    // Nobody will use this branch: nothing of it can commit, so nothing is in doubt.
    auto releasing = inner_.release(std::move(gid));
    co_await std::move(releasing);
    co_return fault(FailureKind::timeout, false);
  }
  refuse_some(faults, operations, votes.value());
  co_return votes;
}

asio::awaitable<Result<protocol::Votes>> FaultyParticipant::judge(protocol::Gid gid,
                                                                  OperationMask candidates) {
  return inner_.judge(std::move(gid), std::move(candidates));
}

asio::awaitable<Result<Done>> FaultyParticipant::prepare(protocol::Gid gid,
                                                         OperationMask survivors) {
  if (!faults_) return inner_.prepare(std::move(gid), std::move(survivors));
  return faulty_prepare(*faults_, std::move(gid), std::move(survivors));
}

asio::awaitable<Result<Done>> FaultyParticipant::faulty_prepare(ParticipantFaults faults,
                                                                protocol::Gid gid,
                                                                OperationMask survivors) {
  auto waiting = pause(faults.delay);
  co_await std::move(waiting);
  const Fate fate = draw(faults);
  if (fate == Fate::unavailable || fate == Fate::not_sent) {
    auto releasing = inner_.release(std::move(gid));
    co_await std::move(releasing);
    if (fate == Fate::unavailable) co_return down_failure();
    co_return fault(FailureKind::error, false);
  }
  auto preparing = inner_.prepare(std::move(gid), std::move(survivors));
  auto done = co_await std::move(preparing);
  if (done && fate == Fate::answer_lost) co_return fault(FailureKind::timeout, true);
  co_return done;
}

asio::awaitable<void> FaultyParticipant::release(protocol::Gid gid) {
  return inner_.release(std::move(gid));
}

asio::awaitable<Result<Done>> FaultyParticipant::commit_prepared(protocol::Gid gid) {
  if (!faults_) return inner_.commit_prepared(std::move(gid));
  return faulty_finish(*faults_, std::move(gid), true);
}

asio::awaitable<Result<Done>> FaultyParticipant::rollback_prepared(protocol::Gid gid) {
  if (!faults_) return inner_.rollback_prepared(std::move(gid));
  return faulty_finish(*faults_, std::move(gid), false);
}

asio::awaitable<Result<Done>> FaultyParticipant::faulty_finish(ParticipantFaults faults,
                                                               protocol::Gid gid, bool commit) {
  auto waiting = pause(faults.delay);
  co_await std::move(waiting);
  const Fate fate = draw(faults);
  if (fate == Fate::unavailable) co_return down_failure();
  if (fate == Fate::not_sent) co_return fault(FailureKind::error, false);
  asio::awaitable<Result<Done>> finishing;
  if (commit) {
    finishing = inner_.commit_prepared(std::move(gid));
  } else {
    finishing = inner_.rollback_prepared(std::move(gid));
  }
  auto done = co_await std::move(finishing);
  if (done && fate == Fate::answer_lost) co_return fault(FailureKind::timeout, true);
  co_return done;
}

asio::awaitable<Result<std::vector<StepReply>>> FaultyParticipant::run_step(protocol::Gid gid,
                                                                            StepRequest request) {
  if (!faults_) return inner_.run_step(std::move(gid), std::move(request));
  return faulty_step(*faults_, std::move(gid), std::move(request));
}

asio::awaitable<Result<std::vector<StepReply>>> FaultyParticipant::faulty_step(
    ParticipantFaults faults, protocol::Gid gid, StepRequest request) {
  auto waiting = pause(faults.delay);
  co_await std::move(waiting);
  const Fate fate = draw(faults);
  if (fate == Fate::unavailable) co_return down_failure();
  if (fate == Fate::not_sent) co_return fault(FailureKind::error, false);
  refuse_some(faults, request);
  auto running = inner_.run_step(std::move(gid), std::move(request));
  auto replies = co_await std::move(running);
  if (replies && fate == Fate::answer_lost) co_return fault(FailureKind::timeout, true);
  co_return replies;
}

asio::awaitable<Result<bool>> FaultyParticipant::has_witness(protocol::Gid gid) {
  if (down()) return failed<bool>(down_failure());
  return inner_.has_witness(std::move(gid));
}

asio::awaitable<Result<std::vector<protocol::Gid>>> FaultyParticipant::list_prepared(
    std::string installation) {
  if (down()) return failed<std::vector<protocol::Gid>>(down_failure());
  return inner_.list_prepared(std::move(installation));
}

asio::awaitable<Result<Done>> FaultyParticipant::trim_witnesses(std::vector<protocol::Gid> gids) {
  if (down()) return failed<Done>(down_failure());
  return inner_.trim_witnesses(std::move(gids));
}

asio::awaitable<Result<ParticipantGauges>> FaultyParticipant::gauges(std::string installation) {
  if (down()) return failed<ParticipantGauges>(down_failure());
  return inner_.gauges(std::move(installation));
}

asio::awaitable<Result<protocol::LogPoint>> FaultyParticipant::log_seen(std::string installation) {
  if (down()) return failed<protocol::LogPoint>(down_failure());
  return inner_.log_seen(std::move(installation));
}

asio::awaitable<Result<Done>> FaultyParticipant::note_log_seen(std::string installation,
                                                               protocol::LogPoint point) {
  if (down()) return failed<Done>(down_failure());
  return inner_.note_log_seen(std::move(installation), std::move(point));
}

asio::awaitable<Result<Done>> FaultyParticipant::trim_steps(std::vector<std::string> saga_ids) {
  if (down()) return failed<Done>(down_failure());
  return inner_.trim_steps(std::move(saga_ids));
}

asio::awaitable<Result<BarriersPage>> FaultyParticipant::list_steps(BarriersQuery query) {
  if (down()) return failed<BarriersPage>(down_failure());
  return inner_.list_steps(std::move(query));
}

}  // namespace txcoord
