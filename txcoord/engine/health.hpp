// Which databases can be worked with. One state for each, with hysteresis:
//
//   usable    orders are served
//   down      it is silent, or the probe could not write: orders are refused at once (503)
//
//   1. Silence takes a database down: a call without an answer, a connection that broke.
//   2. An answer does not, be it an error or not understood: a full disk, a read-only server or a
//      slow statement may concern that one statement alone. It asks for a probe, and the probe
//      decides. That a write was refused is shown for half a minute.
//   3. A probe reads, and then it writes, because the work does. Each pass of recovery over a
//      participant ends with one, and each renewal of the lease is one of the log.
//   4. A database that has not failed since the start is usable as soon as it answers. One that was
//      down is usable when a probe has written. After a relapse, all probes of a while must have
//      written; the while doubles with each relapse. So one that comes and goes changes its state
//      every few seconds, and not hundreds of times in one.
//   5. The first failure of an outage is shown until its end: the later ones are its consequence.
//
// Single-threaded.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/base/failure.hpp"
#include "txcoord/engine/engine.hpp"

namespace txcoord::engine {

inline constexpr std::string_view log_name = "log";

class Health {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit Health(const std::vector<std::string>& names,
                  std::function<Time()> now = std::chrono::steady_clock::now);

  // Work failed. Failures that say nothing about the database (a deadlock, a poison operation)
  // change nothing. `operations`: how many of the clients' fail with the call.
  void failed(std::string_view name, const Failure& failure, std::size_t operations = 0);
  // The probe failed: what the database answers counts like silence.
  void probe_failed(std::string_view name, const Failure& failure);
  // It answered a read, as in every pass of recovery.
  void reached(std::string_view name);
  // It took a write.
  void wrote(std::string_view name);
  // A probe is to write: the database is down, or work failed there since the last one.
  bool wants_probe(std::string_view name) const;
  void recovered(std::string_view name);
  void in_doubt(std::string_view name, std::size_t branches, double oldest_seconds);
  void not_seen(std::string_view name);  // how many are in doubt there is unknown
  // Slots for prepared transactions on its server. Full: no group can be prepared there (sagas can
  // work), known by a PREPARE that the server refused.
  void slots(std::string_view name, std::size_t used, std::size_t max);

  // Those that are spared may be down, or not recovered.
  bool all_usable(const DegradedModes& spared = {}) const;
  bool all_have_slots() const;
  bool all_recovered(const DegradedModes& spared = {}) const;
  // What is wrong, for people: "away: payment; cannot be written: inventory; no prepared slots
  // left: order".
  std::string trouble(const DegradedModes& spared = {}) const;
  const std::map<std::string, ParticipantHealth>& all() const { return health_; }
  bool usable(std::string_view name) const;
  bool reachable(std::string_view name) const;

  // Called with the name when it goes down, and when it comes back.
  std::function<void(std::string_view)> on_down, on_up;
  // Called when a probe is asked for, at most once in `probe_pause`.
  std::function<void(std::string_view)> on_doubt;
  // Called when operations of clients fail with a call, and neither a conflict nor their values are
  // the cause.
  std::function<void(std::string_view, std::size_t)> on_errors;

 private:
  struct State {
    bool doubted = false;                  // work failed since the last probe
    std::optional<Time> asked_at;          // when a probe was last asked for
    std::optional<Time> write_refused_at;  // of work
    bool coming = false;                   // down, and every probe since came_at has come through
    Time came_at{};
    bool was_up = false;
    std::optional<Time> back_at;  // the end of its last outage
    std::uint32_t relapses = 0;
    bool prepare_refused = false;
  };
  void down(std::string_view name, const Failure& failure);
  void doubt(std::string_view name, const Failure& failure);

  std::function<Time()> now_;
  std::map<std::string, ParticipantHealth> health_;
  std::map<std::string, State, std::less<>> states_;
};

}  // namespace txcoord::engine
