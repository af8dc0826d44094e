// Named points at which the process can be told to SIGKILL itself, in the shipped binary:
// TXCOORD_CRASH_AT=point[:nth]. `txcoord crash-points` lists them. For tests and drills.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace txcoord::engine {

struct CrashPoint {
  std::string_view name;
  std::string_view meaning;
};

class CrashPoints {
 public:
  CrashPoints() = default;  // armed nowhere
  // `spec` is point[:nth], nth from 1; empty arms nothing. Throws std::invalid_argument.
  explicit CrashPoints(std::string_view spec);

  // Does not return when this is the armed point's nth time.
  void reach(std::string_view point);
  void reach(std::string_view prefix, std::string_view participant, std::string_view suffix);

  static std::span<const CrashPoint> all();

 private:
  std::string armed_;
  std::uint64_t countdown_ = 0;
};

}  // namespace txcoord::engine
