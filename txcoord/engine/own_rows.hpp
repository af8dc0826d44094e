// The rows that groups of this process hold, at each participant: the next group waits for them
// here, in the process, and not in the database, where a vote skips whatever is held.
//
// A row is held from the vote on until its branch has ended there: committed, rolled back,
// released, or given up to the sweep. A branch whose COMMIT PREPARED failed once waits for its
// database; nobody waits for it here any more, its rows are then held like anybody's.
// Single-threaded. Bounds: the groups that are not finished; each wait has a deadline.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "txcoord/engine/submission.hpp"
#include "txcoord/protocol/gid.hpp"

namespace txcoord::engine {

class OwnRows {
 public:
  explicit OwnRows(boost::asio::any_io_executor io) : io_(std::move(io)) {}

  // What the group will lock there, before it votes. Groups wait for those that took before them.
  void take(const protocol::Gid& gid, std::string_view participant, const Submissions& members);
  // Returns when no earlier group that is being ended holds one of its rows there, or at `until`.
  boost::asio::awaitable<void> wait(protocol::Gid gid, std::string participant, SteadyTime until);

  void ended(const protocol::Gid& gid, std::string_view participant);
  void stuck(const protocol::Gid& gid, std::string_view participant);
  // The group is over.
  void forget(const protocol::Gid& gid);

 private:
  struct Holder {
    protocol::Gid gid;
    std::unordered_set<std::string> keys;
    bool others = false;  // rows that only the participant can name, too
    bool stuck = false;
  };
  using Holders = std::vector<Holder>;  // in the order in which they took

  static bool meet(const Holder& one, const Holder& other);
  bool must_wait(const protocol::Gid& gid, std::string_view participant) const;
  void wake_all();

  boost::asio::any_io_executor io_;
  std::map<std::string, Holders, std::less<>> held_;  // by participant
  // One timer for each wait under way, cancelled whenever a holder leaves. Never a shared one: to
  // set its time ends all waits on it, so that two of them would wake each other for ever (seen).
  std::set<boost::asio::steady_timer*> waits_;
};

}  // namespace txcoord::engine
