#include "txcoord/engine/leases.hpp"

#include <time.h>

#include <algorithm>

namespace txcoord::engine {
namespace {

constexpr int gaps_in_a_lease = 4;  // rule 3

bool same_log(const LogIdentity& one, const LogIdentity& other) {
  return one.system_identifier == other.system_identifier && one.timeline == other.timeline;
}

}  // namespace

void Leases::observe(const LeaseRound& round, Time asked, Time answered) {
  const bool unbroken =
      log_ && same_log(*log_, round.log) && answered - last_asked_ <= lease_ / gaps_in_a_lease;
  std::map<std::string, Watched> now;
  for (const auto& [name, state] : round.coordinators) {
    if (name == own_) continue;
    const auto before = watched_.find(name);
    const bool unchanged = unbroken && before != watched_.end() && before->second.state == state;
    // The first reading came after the renewal was asked for, and before the answer: the time
    // between two readings is at least that from the first one's answer to the second one's asking.
    if (unchanged) {
      now[name] = {state, before->second.since, asked};
    } else {
      now[name] = {state, answered, answered};
    }
  }
  watched_ = std::move(now);
  log_ = round.log;
  last_asked_ = asked;
}

bool Leases::silent(const Watched& watched) const {
  const Time stated = std::chrono::milliseconds(watched.state.lease_ms);
  return watched.state.ended || watched.until - watched.since >= std::max(lease_, stated);
}

std::vector<LeaseClaim> Leases::claims(const std::vector<std::string>& wanted, Time now) const {
  std::vector<LeaseClaim> claims;
  if (!log_ || now - last_asked_ > lease_ / gaps_in_a_lease) return claims;
  for (const auto& name : wanted) {
    const auto watched = watched_.find(name);
    if (watched != watched_.end() && silent(watched->second))
      claims.push_back({name, watched->second.state, *log_});
  }
  return claims;
}

bool Leases::alone() const {
  return log_ &&
         std::ranges::all_of(watched_, [this](const auto& entry) { return silent(entry.second); });
}

Leases::Time boot_time() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace txcoord::engine
