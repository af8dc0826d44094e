#include "txcoord/engine/health.hpp"

#include <algorithm>

#include "txcoord/base/logging.hpp"

namespace txcoord::engine {

Health::Health(const std::vector<std::string>& names) {
  for (const auto& name : names) health_[name] = {};
}

void Health::failed(std::string_view name, const Failure& failure, std::size_t operations) {
  const bool no_answer =
      failure.kind == FailureKind::unavailable || failure.kind == FailureKind::timeout;
  if (operations > 0 && (no_answer || failure.kind == FailureKind::error) && on_errors)
    on_errors(name, operations);
  if (!no_answer) return;
  auto& entry = health_[std::string(name)];
  entry.last_error = words_for_anybody(failure);
  if (!entry.reachable) return;
  entry.reachable = false;
  logging::warn("database is away", {{"participant", name},
                                     {"sqlstate", std::string_view(failure.sqlstate)},
                                     {"error", std::string_view(failure.message)}});
  if (on_down) on_down(name);
}

void Health::reached(std::string_view name) {
  auto& entry = health_[std::string(name)];
  if (entry.reachable) return;
  entry.reachable = true;
  entry.last_error.clear();
  logging::info("database is reachable", {{"participant", name}});
  if (on_up) on_up(name);
}

void Health::recovered(std::string_view name) { health_[std::string(name)].recovered = true; }

void Health::in_doubt(std::string_view name, std::size_t branches, double oldest_seconds) {
  auto& entry = health_[std::string(name)];
  entry.in_doubt_branches = branches;
  entry.in_doubt_oldest_seconds = oldest_seconds;
}

bool Health::all_reachable(const DegradedModes& spared) const {
  return std::ranges::all_of(health_, [&](const auto& entry) {
    return entry.second.reachable || spared.spares(entry.first);
  });
}

bool Health::all_recovered(const DegradedModes& spared) const {
  return std::ranges::all_of(health_, [&](const auto& entry) {
    return entry.second.recovered || spared.spares(entry.first);
  });
}

std::string Health::away(const DegradedModes& spared) const {
  std::string names;
  for (const auto& [name, entry] : health_) {
    if (entry.reachable || spared.spares(name)) continue;
    if (!names.empty()) names += ", ";
    names += name;
  }
  return names;
}

bool Health::reachable(std::string_view name) const {
  const auto entry = health_.find(std::string(name));
  return entry != health_.end() && entry->second.reachable;
}

}  // namespace txcoord::engine
