// The service's end of the participant protocol (docs/participant-protocol.md), apart from HTTP:
// a call's name and body in, a status and a body out. One host serves one participant or several.
// I/O thread only.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "participants/participant.hpp"
#include "participants/payment/card_settlement.hpp"
#include "participants/remote/identity.hpp"
#include "participants/services.hpp"
#include "txcoord/base/json_reader.hpp"

namespace txcoord::remote {

// A participant and the service around it: one of the four service pointers is set. None is owned.
struct Hosted {
  Participant* participant = nullptr;  // always set; of the others, its own
  OrderService* orders = nullptr;
  InventoryService* inventory = nullptr;
  PaymentService* payments = nullptr;
  CardSettler* cards = nullptr;
  ShippingService* shipping = nullptr;
};

struct HostAnswer {
  int status = 200;  // anything else: the body is a problem document
  std::string body;
};

class ParticipantHost {
 public:
  // `branch_open_max`: a branch that was voted on and is neither prepared nor released for so long
  // is released here: its coordinator is gone, or the release was lost.
  ParticipantHost(asio::any_io_executor io, std::map<std::string, Hosted, std::less<>> hosted,
                  std::chrono::milliseconds branch_open_max);

  // Never throws; a body that cannot be read is the failure `error` with status 400. Every answer
  // repeats what was asked; `request_id` is the header's, for callers whose bodies have none.
  asio::awaitable<HostAnswer> handle(std::string_view participant, std::string_view call,
                                     std::string_view body, std::string_view request_id = {});

  // Releases what stays open; runs until stop().
  asio::awaitable<void> sweep();
  // Afterwards nothing new is voted on.
  void stop();

  bool serves(std::string_view participant) const { return hosted_.contains(participant); }
  std::size_t open_branches() const { return open_.size(); }

 private:
  using Clock = std::chrono::steady_clock;
  using BranchKey = std::pair<std::string, protocol::Gid>;  // participant, gid
  struct OpenBranch {
    Clock::time_point used;
    std::vector<std::string> order_ids;  // of its operations
    bool busy = false;                   // a call on it is under way: the sweep leaves it alone
    bool given_up = false;               // released while a call was under way: ends with it
  };
  // A branch while one call on it is under way.
  class Visit;

  asio::awaitable<HostAnswer> answer(std::string_view participant, std::string_view call,
                                     std::string_view body, Identity& identity);
  asio::awaitable<std::string> branch_call(const Hosted& hosted, std::string_view call,
                                           const JsonReader& reader, bool& known);
  asio::awaitable<std::string> vote(const Hosted& hosted, const JsonReader& reader);
  asio::awaitable<std::string> judge(const Hosted& hosted, const JsonReader& reader);
  asio::awaitable<std::string> prepare(const Hosted& hosted, const JsonReader& reader);
  asio::awaitable<std::string> release(const Hosted& hosted, const JsonReader& reader);
  void note(std::string_view participant, std::string_view call, const Failure& failure);
  void check_new(const BranchKey& key) const;
  asio::awaitable<void> end_if_given_up(const Hosted& hosted, const BranchKey& key);
  void end(const BranchKey& key);
  asio::awaitable<void> release_all(std::vector<BranchKey> keys, std::string_view why);
  asio::awaitable<void> release_superseded(const std::string& participant,
                                           const protocol::Gid& gid);

  asio::any_io_executor io_;
  std::map<std::string, Hosted, std::less<>> hosted_;
  std::chrono::milliseconds branch_open_max_;
  std::map<BranchKey, OpenBranch> open_;
  // Branches that have ended here, or were given up before they came, oldest first: a vote that was
  // held up on its way, or sent twice, does not open them again.
  std::set<BranchKey> ended_;
  std::deque<BranchKey> ended_in_order_;
  asio::steady_timer clock_;
  Clock::time_point noted_{};  // when a database's failure was logged last
  bool stopping_ = false;
};

// A service's own call; `known` is set to false when there is none of this name. Throws what the
// branch calls throw: JsonReadError, and CallFailed.
asio::awaitable<std::string> service_call(const Hosted& hosted, std::string_view call,
                                          const JsonReader& reader, bool& known);

// A participant's or service's failure, on its way out of a call.
struct CallFailed {
  Failure failure;
};
template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw CallFailed{result.failure()};
  return std::move(result).value();
}

}  // namespace txcoord::remote
