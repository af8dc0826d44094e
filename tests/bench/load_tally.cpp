// See load_tally.hpp.
#include "tests/bench/load_tally.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <utility>

namespace txcoord::bench {
namespace {

using std::chrono::duration;
using std::chrono::duration_cast;
using std::chrono::microseconds;

constexpr std::chrono::milliseconds timeline_step{100};

const char* name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::confirmed: return "confirmed";
    case Outcome::refused: return "refused";
    case Outcome::unknown: return "unknown";
    case Outcome::error: return "error";
  }
  return "";
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", value);
  return text;
}

// The smallest value that at least this share of all are not above (nearest rank).
double percentile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

std::string latency_json(std::vector<double> ms) {
  if (ms.empty()) return "null";
  std::sort(ms.begin(), ms.end());
  std::string out = "{\"count\": " + std::to_string(ms.size());
  for (const auto& [name, share] :
       {std::pair{"p50_ms", 0.5}, {"p90_ms", 0.9}, {"p99_ms", 0.99}, {"p999_ms", 0.999}}) {
    out += ", \"" + std::string(name) + "\": " + number(percentile(ms, share));
  }
  return out + ", \"max_ms\": " + number(ms.back()) + "}";
}

template <class Map>
std::string counts_json(const Map& counts) {
  std::string out = "{";
  for (const auto& [name, count] : counts) {
    if (out.size() > 1) out += ", ";
    out += "\"" + name + "\": " + std::to_string(count);
  }
  return out + "}";
}

// How many answers fell into each tenth of a second from the start: [confirmed, refused, others].
std::string timeline_json(const std::vector<Answer>& answers, const Window& window) {
  std::vector<std::array<std::uint64_t, 3>> steps;
  for (const Answer& answer : answers) {
    const auto step = static_cast<std::size_t>((answer.answered - window.start) / timeline_step);
    if (steps.size() <= step) steps.resize(step + 1);
    ++steps[step][std::min<std::size_t>(static_cast<std::size_t>(answer.outcome), 2)];
  }
  std::string out = "[";
  for (const auto& [confirmed, refused, others] : steps) {
    if (out.size() > 1) out += ", ";
    out += "[" + std::to_string(confirmed) + ", " + std::to_string(refused) + ", " +
           std::to_string(others) + "]";
  }
  return out + "]";
}

// The longest time in which nobody was told "confirmed", and when it began, in seconds from start.
std::pair<double, double> longest_silence(const std::vector<Answer>& answers,
                                          const Window& window) {
  std::vector<Clock::time_point> times;
  for (const Answer& answer : answers) {
    if (answer.outcome == Outcome::confirmed && answer.answered >= window.measured_from)
      times.push_back(answer.answered);
  }
  std::sort(times.begin(), times.end());
  if (times.empty() || times.back() < window.end) times.push_back(window.end);
  Clock::time_point last = window.measured_from, begun = last;
  Clock::duration longest{0};
  for (const auto& time : times) {
    if (time - last > longest) {
      longest = time - last;
      begun = last;
    }
    last = time;
  }
  return {duration<double>(longest).count(), duration<double>(begun - window.start).count()};
}

}  // namespace

std::string key_of(const std::string& prefix, std::uint64_t index) {
  return prefix + "-" + std::to_string(index);
}

void Tally::add(Answer answer) {
  if (answers_.size() >= answers_max) throw std::length_error("more answers than are kept");
  answers_.push_back(std::move(answer));
}

void Tally::merge(Tally&& other) {
  for (Answer& answer : other.answers_) add(std::move(answer));
  other.answers_.clear();
  friction.unavailable += other.friction.unavailable;
  friction.in_flight += other.friction.in_flight;
  friction.accepted += other.friction.accepted;
  friction.reconnects += other.friction.reconnects;
  not_sent += other.not_sent;
}

bool Tally::has_errors() const {
  return std::any_of(answers_.begin(), answers_.end(),
                     [](const Answer& answer) { return answer.outcome == Outcome::error; });
}

std::string Tally::json(const Window& window, double offered_per_s) const {
  std::map<std::string, std::uint64_t> outcomes, reasons;
  std::uint64_t confirmed = 0, answered = 0;
  std::vector<double> all_ms, confirmed_ms, refused_ms;
  for (const Answer& answer : answers_) {
    ++outcomes[name_of(answer.outcome)];
    if (!answer.reason.empty()) ++reasons[answer.reason];
    const bool final = answer.outcome == Outcome::confirmed || answer.outcome == Outcome::refused;
    if (final && answer.answered >= window.measured_from && answer.answered < window.end) {
      ++answered;
      if (answer.outcome == Outcome::confirmed) ++confirmed;
    }
    if (!final || answer.intended < window.measured_from || answer.intended >= window.end) continue;
    const double ms = duration<double, std::milli>(answer.answered - answer.intended).count();
    all_ms.push_back(ms);
    (answer.outcome == Outcome::confirmed ? confirmed_ms : refused_ms).push_back(ms);
  }
  const double seconds = duration<double>(window.end - window.measured_from).count();
  const auto [silence, silence_at] = longest_silence(answers_, window);
  const double start_us = static_cast<double>(
      duration_cast<microseconds>(window.start - Clock::now() +
                                  std::chrono::system_clock::now().time_since_epoch())
          .count());
  std::string out = "{\"orders\": " + std::to_string(answers_.size());
  out += ", \"started_at\": " + number(start_us / 1e6);
  out +=
      ", \"warm_up_s\": " + number(duration<double>(window.measured_from - window.start).count());
  out += ", \"seconds\": " + number(seconds);
  out += ", \"answers_per_s\": " + number(static_cast<double>(answered) / seconds);
  out += ", \"orders_per_s\": " + number(static_cast<double>(confirmed) / seconds);
  out += ", \"offered_per_s\": " + number(offered_per_s);
  out += ", \"not_sent\": " + std::to_string(not_sent);
  out += ", \"outcomes\": " + counts_json(outcomes) + ", \"reasons\": " + counts_json(reasons);
  out += ", \"latency\": " + latency_json(std::move(all_ms));
  out += ", \"latency_confirmed\": " + latency_json(std::move(confirmed_ms));
  out += ", \"latency_refused\": " + latency_json(std::move(refused_ms));
  out += ", \"unavailable\": " + std::to_string(friction.unavailable);
  out += ", \"in_flight\": " + std::to_string(friction.in_flight);
  out += ", \"accepted\": " + std::to_string(friction.accepted);
  out += ", \"reconnects\": " + std::to_string(friction.reconnects);
  out +=
      ", \"longest_silence_s\": " + number(silence) + ", \"silence_at_s\": " + number(silence_at);
  return out + ", \"timeline\": " + timeline_json(answers_, window) + "}";
}

void Tally::write_answers(const std::string& path, const std::string& key_prefix) const {
  // One offset for all: the steady clock on the system's, which PostgreSQL's commits are stamped
  // with.
  const auto offset = duration_cast<microseconds>(
      std::chrono::system_clock::now().time_since_epoch() - Clock::now().time_since_epoch());
  const auto us = [&](Clock::time_point time) {
    return std::to_string((duration_cast<microseconds>(time.time_since_epoch()) + offset).count());
  };
  std::ofstream file(path, std::ios::trunc);
  for (const Answer& answer : answers_) {
    file << key_of(key_prefix, answer.index) << ',' << name_of(answer.outcome) << ','
         << answer.reason << ',' << answer.order_id << ',' << us(answer.intended) << ','
         << us(answer.answered) << '\n';
  }
  file.flush();
  if (!file) throw std::runtime_error("cannot write " + path);
}

}  // namespace txcoord::bench
