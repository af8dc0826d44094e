// Judges the leases of other coordinators by what this process itself has seen, not by clocks.
//
// A coordinator may be taken over when this process has watched its lease for as long as the lease
// is, and nothing of it changed. Why a healthy coordinator is never judged silent because the log
// was away, or its clock jumped, or this process slept:
//
//   1. Only time that this process has itself measured counts, on a clock that goes on while the
//      machine sleeps (CLOCK_BOOTTIME). expires_at is compared with what it was, never with a time.
//   2. A round is seen only if this process's own renewal was acknowledged in it, and the log is
//      read after that in the same session. So at each round the log could be written: the other
//      could have renewed too. A log that can be read and not written gives no round.
//   3. Between two rounds may lie a quarter of a lease at most. More is a gap (the log was
//      away, this process was stopped), and all that was watched before it is forgotten. So is it
//      when the system identifier or the timeline is another one. A healthy coordinator tries to
//      renew far more often than that, so after each gap it shows life before a whole lease has
//      been watched.
//   4. Any change is life: of renewals, of expires_at (an older coordinator changes that alone), of
//      the epoch (it started, or somebody else took it over). Each of ours grows `renewals`, so
//      what was given back and taken again never looks like what it was.
//   5. What was judged is asked for by compare-and-set on the pair that was seen
//      (log/pg_leases.cpp): a renewal in between wins, and of two adopters one. It is asked for
//      only while the last round is no older than rule 3 allows.
//
// This is about liveness. A coordinator that was judged silent and is not (cut off from the log by
// its own network) is stopped by the fences, not by this.
//
// Pure: no I/O, the clock is passed in.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "txcoord/log/transaction_log.hpp"

namespace txcoord::engine {

class Leases {
 public:
  using Time = std::chrono::nanoseconds;  // since the machine started, sleep included

  // `own` is never judged. `lease`: this process's own; a coordinator that states a longer one is
  // watched for as long as that.
  Leases(std::string own, Time lease) : own_(std::move(own)), lease_(lease) {}

  // A round: renewed, then read. `asked`: before the renewal was sent; `answered`: after all of it
  // had come. A round that failed is simply not told: it becomes a gap if it lasts.
  void observe(const LeaseRound& round, Time asked, Time answered);

  // Those of `wanted` that may be taken over now: given back at a clean stop, or watched for a
  // whole lease.
  std::vector<LeaseClaim> claims(const std::vector<std::string>& wanted, Time now) const;
  // No other coordinator may still be at work, as far as the last round told.
  bool alone() const;
  // The log as the last round found it; nothing before the first.
  const std::optional<LogIdentity>& log() const { return log_; }

 private:
  struct Watched {
    CoordinatorState state;
    Time since{};  // nothing changed from then …
    Time until{};  // … to then
  };
  bool silent(const Watched& watched) const;

  std::string own_;
  Time lease_;
  std::optional<LogIdentity> log_;
  Time last_asked_{};
  std::map<std::string, Watched> watched_;
};

// CLOCK_BOOTTIME.
Leases::Time boot_time();

}  // namespace txcoord::engine
