// Which databases answer: a failed call marks one down, a successful probe marks it up.
// While one is down its orders are refused at once (503) instead of waiting for a deadline each.
// Single-threaded.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "txcoord/base/failure.hpp"
#include "txcoord/engine/engine.hpp"

namespace txcoord::engine {

inline constexpr std::string_view log_name = "log";

class Health {
 public:
  explicit Health(const std::vector<std::string>& names);

  // Failures that say nothing about reachability (a deadlock, a poison operation) are ignored.
  void failed(std::string_view name, const Failure& failure);
  void reached(std::string_view name);
  void recovered(std::string_view name);
  void in_doubt(std::string_view name, std::size_t branches, double oldest_seconds);

  // Those that are spared may be away, or not recovered.
  bool all_reachable(const DegradedModes& spared = {}) const;
  bool all_recovered(const DegradedModes& spared = {}) const;
  // The names of those that are away and not spared, for people: "payment, log".
  std::string away(const DegradedModes& spared = {}) const;
  const std::map<std::string, ParticipantHealth>& all() const { return health_; }
  bool reachable(std::string_view name) const;

  // Called with the name when it goes down, and when it comes back.
  std::function<void(std::string_view)> on_down, on_up;

 private:
  std::map<std::string, ParticipantHealth> health_;
};

}  // namespace txcoord::engine
