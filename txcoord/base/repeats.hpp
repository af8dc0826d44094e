// A bound on a message that comes again and again: a cause that stays (a full disk, a service that
// refuses) makes every try say the same, and the log must not fill the disk that is full already.
// `burst` of one message at once, then `per_second`; the next one that is let through tells how
// many were not. Source: a token bucket for each message. Not thread-safe.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace txcoord::logging {

class Repeats {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr double burst = 20;
  static constexpr double per_second = 1;
  // Messages are texts of the program; what is beyond these is not limited.
  static constexpr std::size_t messages_max = 500;

  // Nothing: it is not to be shown. Else how many like it were not, since the last that was.
  std::optional<std::uint64_t> admit(std::string_view message, Time now) {
    auto found = seen_.find(message);
    if (found == seen_.end()) {
      if (seen_.size() >= messages_max) return 0;
      found = seen_.emplace(std::string(message), Bucket{burst, now, 0}).first;
    }
    Bucket& bucket = found->second;
    const std::chrono::duration<double> since = now - bucket.filled_at;
    bucket.left = std::min(burst, bucket.left + since.count() * per_second);
    bucket.filled_at = now;
    if (bucket.left < 1) {
      ++bucket.not_shown;
      return std::nullopt;
    }
    bucket.left -= 1;
    return std::exchange(bucket.not_shown, 0);
  }

 private:
  struct Bucket {
    double left;
    Time filled_at;
    std::uint64_t not_shown;
  };
  std::map<std::string, Bucket, std::less<>> seen_;
};

}  // namespace txcoord::logging
