#include "txcoord/engine/health.hpp"

#include <algorithm>

#include "txcoord/base/logging.hpp"

namespace txcoord::engine {
namespace {

using std::chrono::milliseconds;

// Work that fails all the time asks for no more probes than this.
constexpr milliseconds probe_pause{200};
// Who was up for so long has not relapsed, but failed anew.
constexpr milliseconds calm{10000};
// A refused write is shown so long: work that meets it pauses longer and longer between its tries.
constexpr milliseconds refusal_shown{30000};
// All probes of this time must come through after the first relapse; doubled by each further one.
constexpr milliseconds settle_min{500};
constexpr std::uint32_t settle_doublings_max = 2;

milliseconds settling_time(std::uint32_t relapses) {
  if (relapses == 0) return milliseconds(0);
  return settle_min * (1U << std::min(relapses - 1, settle_doublings_max));
}

bool no_answer_or_lack(const Failure& failure) {
  return failure.kind == FailureKind::unavailable || failure.kind == FailureKind::timeout ||
         failure.kind == FailureKind::unreadable;
}

// An ERROR of a living session. 08: the connection broke; 57P: the server stops, or starts.
bool answered(const Failure& failure) {
  return !failure.sqlstate.empty() && !failure.sqlstate.starts_with("08") &&
         !failure.sqlstate.starts_with("57P");
}

// It may lie with one table, or with one statement: others may still be written.
bool refuses_writes(const Failure& failure) {
  return failure.sqlstate.starts_with("53") || failure.sqlstate == "25006";
}

bool no_slot_left(const Failure& failure) { return failure.sqlstate == "53200"; }

}  // namespace

Health::Health(const std::vector<std::string>& names, std::function<Time()> now)
    : now_(std::move(now)) {
  for (const auto& name : names) {
    health_[name] = {};
    states_[name] = {};
  }
}

void Health::failed(std::string_view name, const Failure& failure, std::size_t operations) {
  const bool counts = no_answer_or_lack(failure) || failure.kind == FailureKind::error;
  if (operations > 0 && counts && on_errors) on_errors(name, operations);
  if (!no_answer_or_lack(failure)) return;
  if (answered(failure) || failure.kind == FailureKind::unreadable) {
    doubt(name, failure);
  } else {
    down(name, failure);
  }
}

void Health::probe_failed(std::string_view name, const Failure& failure) {
  if (no_answer_or_lack(failure)) down(name, failure);
}

void Health::doubt(std::string_view name, const Failure& failure) {
  State& state = states_[std::string(name)];
  if (no_slot_left(failure)) state.prepare_refused = true;
  state.doubted = true;
  const Time now = now_();
  if (refuses_writes(failure)) {
    state.write_refused_at = now;
    ParticipantHealth& entry = health_[std::string(name)];
    entry.writable = false;
    if (entry.last_error.empty()) entry.last_error = words_for_anybody(failure);
  }
  if (state.asked_at && now - *state.asked_at < probe_pause) return;
  state.asked_at = now;
  if (on_doubt) on_doubt(name);
}

void Health::down(std::string_view name, const Failure& failure) {
  ParticipantHealth& entry = health_[std::string(name)];
  State& state = states_[std::string(name)];
  const bool silent = !answered(failure);
  state.coming = false;
  if (silent) {
    entry.reachable = false;
    entry.in_doubt_branches.reset();
  }
  if (entry.last_error.empty()) entry.last_error = words_for_anybody(failure);
  entry.writable = false;
  if (!entry.usable) return;
  entry.usable = false;
  const bool relapse = state.back_at && now_() - *state.back_at < calm;
  state.relapses = relapse ? state.relapses + 1 : 0;
  logging::warn(silent ? "database is away" : "database cannot be written",
                {{"participant", name},
                 {"sqlstate", std::string_view(failure.sqlstate)},
                 {"error", std::string_view(failure.message)}});
  if (on_down) on_down(name);
}

void Health::reached(std::string_view name) {
  ParticipantHealth& entry = health_[std::string(name)];
  const State& state = states_[std::string(name)];
  entry.reachable = true;
  const bool refused_lately =
      state.write_refused_at && now_() - *state.write_refused_at < refusal_shown;
  // Until it has failed once, a database that answers is one to work with.
  if (!state.was_up && entry.last_error.empty()) return wrote(name);
  entry.writable = entry.usable && !refused_lately;
  if (entry.writable) entry.last_error.clear();
}

void Health::wrote(std::string_view name) {
  ParticipantHealth& entry = health_[std::string(name)];
  State& state = states_[std::string(name)];
  entry.reachable = true;
  state.doubted = false;
  if (entry.usable) return;
  const Time now = now_();
  if (!state.coming) {
    state.coming = true;
    state.came_at = now;
  }
  if (now - state.came_at < settling_time(state.relapses)) return;
  // The first time is the start, and not the end of an outage.
  if (state.was_up) state.back_at = now;
  state.was_up = true;
  entry.usable = entry.writable = true;
  entry.last_error.clear();
  logging::info("database is reachable", {{"participant", name}});
  if (on_up) on_up(name);
}

bool Health::wants_probe(std::string_view name) const {
  const auto state = states_.find(name);
  return !usable(name) || (state != states_.end() && state->second.doubted);
}

void Health::recovered(std::string_view name) { health_[std::string(name)].recovered = true; }

void Health::in_doubt(std::string_view name, std::size_t branches, double oldest_seconds) {
  auto& entry = health_[std::string(name)];
  entry.in_doubt_branches = branches;
  entry.in_doubt_oldest_seconds = oldest_seconds;
}

void Health::not_seen(std::string_view name) {
  health_[std::string(name)].in_doubt_branches.reset();
}

void Health::slots(std::string_view name, std::size_t used, std::size_t max) {
  ParticipantHealth& entry = health_[std::string(name)];
  State& state = states_[std::string(name)];
  const bool full = state.prepare_refused && used >= max;
  state.prepare_refused = full;
  if (full == entry.slots_full) return;
  entry.slots_full = full;
  if (full) {
    logging::warn("database has no prepared slot left: orders by two-phase commit get 503",
                  {{"participant", name},
                   {"used", static_cast<std::int64_t>(used)},
                   {"max", static_cast<std::int64_t>(max)}});
    return;
  }
  logging::info("database has prepared slots again", {{"participant", name}});
  if (on_up) on_up(name);
}

bool Health::all_usable(const DegradedModes& spared) const {
  return std::ranges::all_of(health_, [&](const auto& entry) {
    return entry.second.usable || spared.spares(entry.first);
  });
}

bool Health::all_have_slots() const {
  return std::ranges::none_of(health_, [](const auto& entry) { return entry.second.slots_full; });
}

bool Health::all_recovered(const DegradedModes& spared) const {
  return std::ranges::all_of(health_, [&](const auto& entry) {
    return entry.second.recovered || spared.spares(entry.first);
  });
}

std::string Health::trouble(const DegradedModes& spared) const {
  std::string away, unwritable, full;
  for (const auto& [name, entry] : health_) {
    if (spared.spares(name) || (entry.usable && !entry.slots_full)) continue;
    std::string& names = !entry.reachable ? away : !entry.usable ? unwritable : full;
    names += (names.empty() ? "" : ", ") + name;
  }
  std::string told;
  const auto tell = [&told](const char* what, const std::string& names) {
    if (!names.empty()) told += (told.empty() ? "" : "; ") + (what + names);
  };
  tell("away: ", away);
  tell("cannot be written: ", unwritable);
  tell("no prepared slots left: ", full);
  return told;
}

bool Health::reachable(std::string_view name) const {
  const auto entry = health_.find(std::string(name));
  return entry != health_.end() && entry->second.reachable;
}

bool Health::usable(std::string_view name) const {
  const auto entry = health_.find(std::string(name));
  return entry != health_.end() && entry->second.usable;
}

}  // namespace txcoord::engine
