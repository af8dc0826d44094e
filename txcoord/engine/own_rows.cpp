#include "txcoord/engine/own_rows.hpp"

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace txcoord::engine {

void OwnRows::take(const protocol::Gid& gid, std::string_view participant,
                   const Submissions& members) {
  Holder holder;
  holder.gid = gid;
  const bool unnamed = participant == "inventory" || participant == "payment";
  for (const auto& member : members) {
    holder.others = holder.others || (unnamed && member->rows.others);
    for (const std::string& key : member->rows.keys)
      if (participant_of(key) == participant) holder.keys.insert(key);
  }
  if (holder.keys.empty() && !holder.others) return;
  held_[std::string(participant)].push_back(std::move(holder));
}

bool OwnRows::meet(const Holder& one, const Holder& other) {
  if (one.others || other.others) return true;
  return std::ranges::any_of(one.keys, [&](const auto& key) { return other.keys.contains(key); });
}

bool OwnRows::must_wait(const protocol::Gid& gid, std::string_view participant) const {
  const auto entry = held_.find(participant);
  if (entry == held_.end()) return false;
  const Holders& holders = entry->second;
  const auto mine = std::ranges::find(holders, gid, &Holder::gid);
  if (mine == holders.end()) return false;
  return std::any_of(holders.begin(), mine,
                     [&](const Holder& earlier) { return !earlier.stuck && meet(*mine, earlier); });
}

boost::asio::awaitable<void> OwnRows::wait(protocol::Gid gid, std::string participant,
                                           SteadyTime until) {
  if (!must_wait(gid, participant)) co_return;
  boost::asio::steady_timer changed(io_, until);
  waits_.insert(&changed);
  while (must_wait(gid, participant) && std::chrono::steady_clock::now() < until) {
    boost::system::error_code ignored;
    auto token = boost::asio::redirect_error(boost::asio::use_awaitable, ignored);
    co_await changed.async_wait(token);
  }
  waits_.erase(&changed);
}

void OwnRows::wake_all() {
  for (boost::asio::steady_timer* wait : waits_) wait->cancel();
}

void OwnRows::ended(const protocol::Gid& gid, std::string_view participant) {
  const auto entry = held_.find(participant);
  if (entry == held_.end()) return;
  if (std::erase_if(entry->second, [&](const Holder& holder) { return holder.gid == gid; }) > 0)
    wake_all();
}

void OwnRows::stuck(const protocol::Gid& gid, std::string_view participant) {
  const auto entry = held_.find(participant);
  if (entry == held_.end()) return;
  const auto holder = std::ranges::find(entry->second, gid, &Holder::gid);
  if (holder == entry->second.end() || holder->stuck) return;
  holder->stuck = true;
  wake_all();
}

void OwnRows::forget(const protocol::Gid& gid) {
  for (auto& [participant, holders] : held_)
    std::erase_if(holders, [&](const Holder& holder) { return holder.gid == gid; });
  wake_all();
}

}  // namespace txcoord::engine
