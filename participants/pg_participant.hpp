// The generic PostgreSQL participant: branches as PREPARE TRANSACTION, with a witness row.
// The same code serves all four services; what differs is in a BranchLogic.
//
// Every database has:  txc_branch(gid text primary key, at timestamptz), the witness table:
// `gid` is the global transaction's id, without the participant. And, for the steps of sagas,
// txc_saga_steps(saga_id, step, outcome, reason, detail, at), the barrier; and txc_fence, the fence
// of each coordinator (pg_fence.hpp).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "participants/branch_logic.hpp"
#include "participants/participant.hpp"
#include "participants/pg_pools.hpp"
#include "txcoord/metrics/metrics.hpp"
#include "txcoord/pg/pool.hpp"

namespace txcoord {

// A branch of ours as pg_prepared_xacts shows it.
struct PreparedBranch {
  protocol::Gid gid;
  double age_seconds = 0;
};

class PgParticipant final : public Participant {
 public:
  // `metrics` may be null. `logic` is called from worker threads too: its methods are const.
  PgParticipant(PgPools pools, std::shared_ptr<const BranchLogic> logic,
                ParticipantDeadlines deadlines, Metrics* metrics);
  ~PgParticipant() override;

  std::string_view name() const override;
  bool touches(const Operation& operation) const override;
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
  // Between vote and prepare (or release). I/O thread only, but for what a run() lambda is given.
  struct Branch {
    pg::Lease lease;  // empty: judged without locks, BEGIN goes with the prepare
    Operations operations;
    std::shared_ptr<const LockedRows> rows;
    LockMode lock_mode = LockMode::skip;
  };

  asio::awaitable<std::optional<Failure>> lock_branch(const protocol::Gid& gid, Branch& branch,
                                                      std::chrono::steady_clock::time_point until);
  // list_prepared, with ages.
  asio::awaitable<Result<std::vector<PreparedBranch>>> prepared_ages(std::string installation);
  asio::awaitable<Result<Done>> finish(const char* verb, protocol::Gid gid, std::string_view phase);
  asio::awaitable<Result<Done>> run_fenced(pg::Pool& pool, std::optional<FenceOwner> owner,
                                           std::function<void(pg::Session&)> change);
  Failure fenced_out(const FenceOwner& owner) const;
  void observe(std::string_view phase, std::chrono::steady_clock::time_point start) const;

  PgPools pools_;
  std::shared_ptr<const BranchLogic> logic_;
  ParticipantDeadlines deadlines_;
  Metrics* metrics_;
  std::map<protocol::Gid, Branch> branches_;  // bounded by branches_max
};

}  // namespace txcoord
