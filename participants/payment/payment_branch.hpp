// Payment's part of a branch: cards are authorised before it begins, wallets are locked by its
// vote, payments and the processor's errands are written by its prepare.
#pragma once

#include <memory>

#include "participants/branch_logic.hpp"
#include "participants/payment/card_processor.hpp"
#include "txcoord/pg/pool.hpp"

namespace txcoord {

class PaymentBranch final : public BranchLogic {
 public:
  // `cards`: the pool that card intents are written through, outside of every branch.
  PaymentBranch(std::shared_ptr<pg::Pool> cards, std::shared_ptr<CardProcessor> processor)
      : cards_(std::move(cards)), processor_(std::move(processor)) {}

  std::string_view name() const override { return "payment"; }
  bool touches(const Operation& operation) const override;
  asio::awaitable<Result<PreliminaryPtr>> before_vote(
      protocol::Gid gid, Operations operations,
      std::chrono::steady_clock::time_point until) const override;
  std::unique_ptr<LockedRows> lock(pg::Session& session, const Operations& operations,
                                   const PreliminaryPtr& preliminary, LockMode mode) const override;
  void apply(pg::Session& session, const Operations& operations, const OperationMask& survivors,
             const LockedRows& rows, const std::string& gid) const override;

 private:
  std::shared_ptr<pg::Pool> cards_;
  std::shared_ptr<CardProcessor> processor_;
};

// The processor's idempotency key of one authorisation: a group that is tried again has a new gid,
// and so authorises anew; what the earlier try authorised is voided.
std::string card_request_key(std::string_view gid, std::string_view payment_id);

}  // namespace txcoord
