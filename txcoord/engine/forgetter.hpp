// Completes and forgets: step 8 of a group's life. Completion is made durable in batches; only
// then the witnesses go, one DELETE for each participant each second. Single-threaded.
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
#include "txcoord/engine/health.hpp"
#include "txcoord/engine/ticker.hpp"
#include "txcoord/log/transaction_log.hpp"

namespace txcoord::engine {

class Forgetter {
 public:
  Forgetter(asio::any_io_executor io, std::vector<Participant*> participants, TransactionLog& log,
            Health& health, CrashPoints& crash, bool trim_witnesses);

  // Every branch of the gid is committed; `branches` names the participants that have a witness.
  void applied(const protocol::Gid& gid, std::vector<std::string> branches);
  // True from applied() until completion is durable (I9 asks: the log still lists it as
  // incomplete).
  bool completing(const protocol::Gid& gid) const { return completing_.contains(gid); }
  bool idle() const { return completing_.empty(); }

  asio::awaitable<void> run();  // until stop()
  asio::awaitable<void> flush_completions();
  void stop() { ticker_.stop(); }

 private:
  struct SetAside {
    std::uint32_t tries = 0;
    std::chrono::steady_clock::time_point until{};
  };

  void completed(const std::vector<protocol::Gid>& gids);
  asio::awaitable<void> trim_witnesses();

  std::vector<Participant*> participants_;
  TransactionLog& log_;
  Health& health_;
  CrashPoints& crash_;
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
