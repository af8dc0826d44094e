// The addresses of the hosts that a connection string names. getaddrinfo() cannot be ended, and may
// take a minute: it runs in a thread of its own, whose end nobody waits for. Whoever asks leaves at
// his deadline. Blocks; for worker threads, any of them at once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace txcoord::pg {

struct HostAddresses {
  std::vector<std::string> numeric;  // in the resolver's order; at most eight
  std::string error;                 // for logs, when there are none
};

class HostNames {
 public:
  using Clock = std::chrono::steady_clock;
  // Blocks, for as long as it takes; called in a thread of its own. Throws nothing.
  using Resolve = std::function<HostAddresses(const std::string& host)>;

  explicit HostNames(Resolve resolve = resolve_by_system);

  // Each call asks anew, or waits for who asks already: a name may have moved to the new primary.
  // Addresses found within the last hour serve if the resolver fails, or takes longer than half of
  // the time. Ends by the deadline, or soon after `give_up` becomes true. Never throws.
  HostAddresses find(const std::string& host, Clock::time_point deadline,
                     const std::atomic<bool>* give_up);

  static HostAddresses resolve_by_system(const std::string& host);

 private:
  struct State;
  std::shared_ptr<State> state_;  // lookups that outlive us keep it
};

// True for an IP address: there is nothing to look up.
bool is_numeric(const std::string& host);

}  // namespace txcoord::pg
