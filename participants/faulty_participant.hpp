// A participant that suffers faults on demand: wraps any other. I/O thread only. Without a fault
// each call is one branch more.
//
// The faults are honest: what they report is what a real one would leave behind, so that the
// protocols may be tested with them and nothing is denied that was done.
//  - An answer that is lost is a timeout, with the outcome unknown where the port has such a thing.
//  - A vote whose answer is lost, and a prepare that is not sent, leave no branch behind.
//  - A refusal by a saga's step goes through the step's barrier (StepCall::refuse_as): an earlier
//    try that was done, its answer lost, stays done.
// judge and release send nothing and are never hit. Housekeeping (list, witness, trims, fences,
// gauges) is hit by `down` alone.
#pragma once

#include <cstdint>
#include <optional>
#include <random>

#include "participants/faults.hpp"
#include "participants/participant.hpp"

namespace txcoord {

class FaultyParticipant final : public Participant {
 public:
  // `inner` outlives it. The same seed and the same calls give the same faults.
  FaultyParticipant(Participant& inner, std::uint64_t seed) : inner_(inner), random_(seed) {}

  void set(std::optional<ParticipantFaults> faults) { faults_ = faults; }
  const std::optional<ParticipantFaults>& faults() const { return faults_; }

  std::string_view name() const override { return inner_.name(); }
  bool touches(const Operation& operation) const override { return inner_.touches(operation); }
  asio::awaitable<Result<protocol::Votes>> vote(protocol::Gid gid, Operations operations,
                                                LockMode lock_mode = LockMode::skip) override;
  asio::awaitable<Result<protocol::Votes>> judge(protocol::Gid gid,
                                                 OperationMask candidates) override;
  asio::awaitable<Result<Done>> prepare(protocol::Gid gid, OperationMask survivors) override;
  asio::awaitable<void> release(protocol::Gid gid) override;
  asio::awaitable<Result<Done>> commit_prepared(protocol::Gid gid) override;
  asio::awaitable<Result<Done>> rollback_prepared(protocol::Gid gid) override;
  asio::awaitable<Result<bool>> has_witness(protocol::Gid gid) override;
  asio::awaitable<Result<std::vector<protocol::Gid>>> list_prepared(
      std::string installation) override;
  asio::awaitable<Result<Done>> trim_witnesses(std::vector<protocol::Gid> gids,
                                               std::optional<FenceOwner> owner) override;
  asio::awaitable<Result<ParticipantGauges>> gauges(std::string installation) override;
  asio::awaitable<Result<protocol::LogPoint>> log_seen(std::string installation) override;
  asio::awaitable<Result<Done>> note_log_seen(std::string installation, protocol::LogPoint point,
                                              std::optional<FenceOwner> owner) override;
  asio::awaitable<Result<FenceOwner>> raise_fence(FenceOwner owner, std::string replaces) override;
  asio::awaitable<Result<std::vector<FenceOwner>>> fences(std::string installation) override;
  asio::awaitable<Result<std::vector<StepReply>>> run_step(protocol::Gid gid,
                                                           StepRequest request) override;
  asio::awaitable<Result<Done>> trim_steps(std::vector<std::string> saga_ids,
                                           std::optional<FenceOwner> owner) override;
  asio::awaitable<Result<BarriersPage>> list_steps(BarriersQuery query) override;

 private:
  // What happens to the call that begins now.
  enum class Fate : std::uint8_t { made, not_sent, answer_lost, unavailable };

  Fate draw(const ParticipantFaults& faults);
  bool hit(double rate) { return std::uniform_real_distribution<double>(0, 1)(random_) < rate; }
  bool down() const { return faults_ && faults_->mode == FaultMode::down; }
  Failure down_failure() const;
  void refuse_some(const ParticipantFaults& faults, const Operations& operations,
                   protocol::Votes& votes);
  void refuse_some(const ParticipantFaults& faults, StepRequest& request);

  asio::awaitable<Result<protocol::Votes>> faulty_vote(ParticipantFaults faults, protocol::Gid gid,
                                                       Operations operations, LockMode lock_mode);
  asio::awaitable<Result<Done>> faulty_prepare(ParticipantFaults faults, protocol::Gid gid,
                                               OperationMask survivors);
  asio::awaitable<Result<Done>> faulty_finish(ParticipantFaults faults, protocol::Gid gid,
                                              bool commit);
  asio::awaitable<Result<std::vector<StepReply>>> faulty_step(ParticipantFaults faults,
                                                              protocol::Gid gid,
                                                              StepRequest request);

  Participant& inner_;
  std::optional<ParticipantFaults> faults_;
  std::mt19937_64 random_;
};

}  // namespace txcoord
