// The recovery loop: one for each participant, independent of the others (a participant that is
// away delays only itself, an error on one branch not the next). Runs on start, when a database
// comes back, when kicked (an unanswered PREPARE), and on a timer for ever: a late PREPARE lands at
// any time. What it decides is pure: protocol/recovery_plan.hpp. Single-threaded.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "participants/participant.hpp"
#include "txcoord/engine/crash_points.hpp"
#include "txcoord/engine/fences.hpp"
#include "txcoord/engine/forgetter.hpp"
#include "txcoord/engine/health.hpp"
#include "txcoord/engine/ticker.hpp"
#include "txcoord/log/transaction_log.hpp"
#include "txcoord/metrics/metrics.hpp"
#include "txcoord/protocol/recovery_plan.hpp"

namespace txcoord::engine {

struct RecoveryIdentity {
  std::string installation;
  std::string coordinator;
  std::uint64_t epoch = 0;
  std::string incarnation{};  // set where a participant is asked to write: fence_owner()

  LogOwner log_owner() const { return {coordinator, epoch}; }
  FenceOwner fence_owner() const { return {installation, coordinator, epoch, incarnation}; }
};

class Recovery {
 public:
  // Takes over those of the named coordinators that may be, and returns them (leases.hpp).
  using TakeOver =
      std::function<asio::awaitable<Result<std::vector<std::string>>>(std::vector<std::string>)>;

  // `active` is asked for A, the gids active in this process, at the moment it is called.
  Recovery(asio::any_io_executor io, std::vector<Participant*> participants, TransactionLog& log,
           Health& health, Fences& fences, Forgetter& forgetter, CrashPoints& crash,
           Metrics& metrics, std::chrono::milliseconds interval,
           std::function<std::set<protocol::Gid>()> active, TakeOver take_over);

  // Runs one participant's loop until stop(). `identity` must not change while any loop runs.
  asio::awaitable<void> run(Participant& participant, RecoveryIdentity identity);
  // Called when a participant has seen another log than there is now, or more of it, in every pass
  // until that is dealt with.
  std::function<void()> on_log_changed;
  void kick(std::string_view participant);
  void stop();

 private:
  struct Pass;

  asio::awaitable<bool> pass(Pass& current);
  asio::awaitable<bool> read(Pass& pass);
  asio::awaitable<void> probe(Pass& pass);
  asio::awaitable<bool> read_log_point(Pass& pass);
  asio::awaitable<void> note_log(Pass& pass, protocol::LogPoint point);
  asio::awaitable<void> carry_out(Pass& pass, protocol::RecoveryAction action);
  asio::awaitable<std::optional<bool>> outcome_of_undecided(Pass& pass, protocol::Gid gid);
  asio::awaitable<protocol::LostDecision> ask_siblings(Pass& pass, protocol::Gid gid,
                                                       std::vector<std::string>& branches);
  asio::awaitable<void> finish_decision(Pass& pass, Decision decision);
  asio::awaitable<void> show_committed_siblings(Pass& pass, protocol::Gid gid);
  asio::awaitable<bool> show_heuristic(protocol::Gid gid, std::string participant,
                                       std::string detail, std::string_view message, bool count);
  asio::awaitable<void> take_over(Pass& pass);
  void branch_done(const Decision& decision, std::string_view participant);
  void forget_finished(const std::vector<Decision>& incomplete);

  asio::any_io_executor io_;
  std::vector<Participant*> participants_;
  TransactionLog& log_;
  Health& health_;
  Fences& fences_;
  Forgetter& forgetter_;
  CrashPoints& crash_;
  Metrics& metrics_;
  std::chrono::milliseconds interval_;
  std::function<std::set<protocol::Gid>()> active_;
  TakeOver take_over_;
  std::map<std::string, std::unique_ptr<Ticker>, std::less<>> tickers_;
  // Decisions of earlier epochs: which participants are known to have committed.
  std::map<protocol::Gid, std::set<std::string>> done_;
  std::set<std::pair<protocol::Gid, std::string>> heuristic_;
  // Committed against an abort, and shown: so that four branches do not count one four times.
  std::set<std::pair<protocol::Gid, std::string>> contradicted_;
};

}  // namespace txcoord::engine
