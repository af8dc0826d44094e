// What clients were told, and how long it took: exact values, kept until the end. Used by the load
// generator and by the one-database baseline, so that both are counted the same way.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace txcoord::bench {

using Clock = std::chrono::steady_clock;

enum class Outcome : std::uint8_t {
  confirmed,
  refused,  // a business refusal: an answer like any other
  unknown,  // no final answer before the end: it may have happened or not
  error,    // an answer that no correct client gets
};

struct Answer {
  std::uint64_t index = 0;  // of the order in the stream
  Outcome outcome = Outcome::unknown;
  std::string reason;    // of a refusal; for an error the status
  std::string order_id;  // where the answer names it
  Clock::time_point intended, answered;
};

// What happened on the way to the answers.
struct Friction {
  std::uint64_t unavailable = 0;  // 503: sent again after Retry-After
  std::uint64_t in_flight = 0;    // 409 REQUEST_IN_FLIGHT: sent again
  std::uint64_t accepted = 0;     // 202: polled
  std::uint64_t reconnects = 0;   // connection lost or silent: sent again
};

// The measured part of a run: after the warm-up, until the end of sending. How long the warm-up
// takes is known beforehand, or told while it lasts (told.hpp): until then both are never.
struct Window {
  Clock::time_point start;
  Clock::time_point measured_from = Clock::time_point::max(), end = Clock::time_point::max();

  void measure(Clock::time_point from, Clock::duration length) {
    measured_from = from;
    end = from + length;
  }
};

class Tally {
 public:
  // Bounds memory: 10 million answers are about a gigabyte. Throws when there are more.
  static constexpr std::size_t answers_max = 10'000'000;

  void add(Answer answer);
  void merge(Tally&& other);
  Friction friction;
  std::uint64_t not_sent = 0;  // open loop: arrivals that found the backlog full

  // One JSON object. Latency: of the answers to orders meant to be sent in the measured part.
  // Rates: answers given in the measured part. `offered` is 0 for a closed loop.
  std::string json(const Window& window, double offered_per_s) const;
  // key,outcome,reason,order_id,intended,answered (microseconds of the system's clock) a line.
  void write_answers(const std::string& path, const std::string& key_prefix) const;
  bool has_errors() const;
  std::size_t count() const { return answers_.size(); }

 private:
  std::vector<Answer> answers_;
};

std::string key_of(const std::string& prefix, std::uint64_t index);

}  // namespace txcoord::bench
