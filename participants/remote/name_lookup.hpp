// The addresses of one service's name. getaddrinfo() cannot be ended, and may take a minute: it
// runs in a thread of its own, whose end nobody waits for. Whoever asks leaves at his deadline, and
// a slow name keeps no other one waiting. I/O thread only.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace txcoord::remote {

namespace asio = boost::asio;

struct NameLimits {
  std::size_t addresses_max = 8;
  std::size_t lookups_max = 2;  // threads at once
  // One that takes longer does not keep the next one from being begun.
  std::chrono::milliseconds slow_after{2000};
  // What was found is used without asking again; after that it is asked for, and used all the same
  // when the answer takes longer than `patience`.
  std::chrono::milliseconds fresh_max{10'000}, stale_max{3'600'000}, patience{100};
};

struct Addresses {
  std::vector<asio::ip::tcp::endpoint> endpoints;
  std::string error;  // for logs, when there are none
};

// Blocks, for as long as it takes; called in a thread of its own. Throws nothing.
using Resolve = std::function<Addresses(const std::string& host, const std::string& port)>;
Addresses resolve_by_system(const std::string& host, const std::string& port);

class NameLookup {
 public:
  // An address in place of the name is taken as it is.
  NameLookup(asio::any_io_executor io, std::string host, std::string port, NameLimits limits = {},
             Resolve resolve = resolve_by_system);
  // Lookups under way end by themselves, and are not heard.
  ~NameLookup();
  NameLookup(const NameLookup&) = delete;
  NameLookup& operator=(const NameLookup&) = delete;

  // By the deadline. Never throws.
  asio::awaitable<Addresses> find(std::chrono::steady_clock::time_point deadline);
  // Nobody is there any more: the next caller asks for the name anew.
  void not_there();

  std::size_t under_way() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace txcoord::remote
