// Completes and forgets: step 8 of a group's life. Completion is made durable in batches; only
// then the witnesses go, one DELETE for each participant each second; and the decision goes last,
// so that what is kept here in memory may be lost at any time. Single-threaded.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "participants/participant.hpp"
#include "txcoord/engine/crash_points.hpp"
#include "txcoord/engine/fences.hpp"
#include "txcoord/engine/health.hpp"
#include "txcoord/engine/ticker.hpp"
#include "txcoord/log/transaction_log.hpp"
#include "txcoord/metrics/metrics.hpp"

namespace txcoord::engine {

class Forgetter {
 public:
  Forgetter(asio::any_io_executor io, std::vector<Participant*> participants, TransactionLog& log,
            Health& health, Fences& fences, CrashPoints& crash, Metrics& metrics,
            bool trim_witnesses);

  // Every branch of the gid is committed; `branches` names the participants that have a witness.
  void applied(const protocol::Gid& gid, std::vector<std::string> branches);
  // True from applied() until completion is durable (I9 asks: the log still lists it as
  // incomplete).
  bool completing(const protocol::Gid& gid) const { return completing_.contains(gid); }
  bool idle() const { return completing_.empty(); }

  asio::awaitable<void> run();  // until stop()
  asio::awaitable<void> flush_completions();
  // Deletes the witnesses of what was completed. Those that this does not reach (the process is
  // killed, a participant is away) go with their decision: forget_old().
  asio::awaitable<void> trim_witnesses();
  // Deletes decisions that have been complete for `keep`, whoever made them, each after its
  // witnesses: as long as a witness stands, the log says why. Bounded work for each call.
  asio::awaitable<void> forget_old(std::chrono::seconds keep);
  void stop() { ticker_.stop(); }

 private:
  struct SetAside {
    std::uint32_t tries = 0;
    std::chrono::steady_clock::time_point until{};
  };

  asio::awaitable<void> completed(std::vector<protocol::Gid> gids,
                                  std::vector<protocol::Gid> said_aborted);
  asio::awaitable<bool> show_aborted(protocol::Gid gid, std::vector<std::string> branches);
  asio::awaitable<bool> forget_some(std::chrono::seconds keep, std::vector<std::string>& away);
  asio::awaitable<Result<Done>> trim_at(Participant& participant, std::vector<protocol::Gid> gids);

  std::vector<Participant*> participants_;
  TransactionLog& log_;
  Health& health_;
  Fences& fences_;
  CrashPoints& crash_;
  Metrics& metrics_;
  bool trim_;
  Ticker ticker_;
  std::map<protocol::Gid, std::vector<std::string>> completing_;
  std::map<protocol::Gid, SetAside> set_aside_;  // of completing_: its completion failed by itself
  std::map<std::string, std::vector<protocol::Gid>, std::less<>>
      witnesses_;               // by participant, bounded
  std::uint32_t failures_ = 0;  // of the log, one after the other
  std::minstd_rand jitter_{std::random_device{}()};
};

}  // namespace txcoord::engine
