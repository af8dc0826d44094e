// The trace of what test doubles were asked, in order, and what they are told to do: fail, or wait.
#pragma once

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "txcoord/base/failure.hpp"

namespace txcoord::testing {

namespace asio = boost::asio;

// "inventory.vote", "log.decide", …: who was asked what, and "… done" when it was answered.
using Trace = std::vector<std::string>;

inline std::size_t position(const Trace& trace, const std::string& entry) {
  for (std::size_t i = 0; i < trace.size(); ++i)
    if (trace[i] == entry) return i;
  return trace.size();
}
inline std::size_t count(const Trace& trace, const std::string& entry) {
  std::size_t times = 0;
  for (const auto& line : trace) times += line == entry ? 1 : 0;
  return times;
}

// Failures to come, by call, first in first out; and calls that wait until they are let go.
class Script {
 public:
  explicit Script(const asio::any_io_executor& io) : io_(io) {}

  void fail(const std::string& call, Failure failure) {
    failures_[call].push_back(std::move(failure));
  }
  void hold(const std::string& call) { held_.insert(call); }
  void let_go(const std::string& call) { held_.erase(call); }

  // Enters the call in the trace, waits while it is held, and gives its failure, if it has one.
  asio::awaitable<std::optional<Failure>> enter(std::string call) {
    trace.push_back(call);
    while (held_.contains(call)) {
      asio::steady_timer timer(io_, std::chrono::milliseconds(1));
      boost::system::error_code ignored;
      auto token = asio::redirect_error(asio::use_awaitable, ignored);
      co_await timer.async_wait(token);
    }
    auto& failures = failures_[call];
    if (failures.empty()) {
      trace.push_back(call + " done");
      co_return std::nullopt;
    }
    Failure failure = failures.front();
    failures.erase(failures.begin());
    trace.push_back(call + " failed");
    co_return failure;
  }

  Trace trace;

 private:
  asio::any_io_executor io_;
  std::map<std::string, std::vector<Failure>> failures_;
  std::set<std::string> held_;
};

inline Failure unavailable(bool outcome_unknown = false) {
  return {FailureKind::unavailable, outcome_unknown, "", "away"};
}
inline Failure of_kind(FailureKind kind) { return {kind, false, "", "told to"}; }

}  // namespace txcoord::testing
