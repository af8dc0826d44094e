// See name_lookup.hpp.
#include "participants/remote/name_lookup.hpp"

#include <netdb.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace txcoord::remote {
namespace {

using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;

// Between a thread that has found something and an I/O context that may be gone by then.
struct Gate {
  std::mutex mutex;
  bool open = true;
};

}  // namespace

struct NameLookup::State : std::enable_shared_from_this<NameLookup::State> {
  State(asio::any_io_executor executor, std::string name, std::string service, NameLimits all,
        Resolve how)
      : io(std::move(executor)),
        host(std::move(name)),
        port(std::move(service)),
        limits(all),
        resolve(std::move(how)) {
    boost::system::error_code no_address;
    const auto address = asio::ip::make_address(host, no_address);
    std::uint16_t number = 0;
    std::from_chars(port.data(), port.data() + port.size(), number);
    if (!no_address) literal.endpoints.emplace_back(address, number);
  }

  asio::any_io_executor io;
  std::string host, port;
  NameLimits limits;
  Resolve resolve;
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  Addresses literal, found;
  std::string last_error;
  Clock::time_point found_at{}, fresh_until{}, begun_at{};
  std::size_t under_way = 0;
  std::vector<std::shared_ptr<asio::steady_timer>> waiting;

  bool known(Clock::time_point now) const {
    return !found.endpoints.empty() && now < found_at + limits.stale_max;
  }

  void heard(Addresses addresses) {
    --under_way;
    const auto now = Clock::now();
    last_error = addresses.error;
    if (!addresses.endpoints.empty()) {
      if (addresses.endpoints.size() > limits.addresses_max)
        addresses.endpoints.resize(limits.addresses_max);
      found = std::move(addresses);
      found_at = now;
      fresh_until = now + limits.fresh_max;
    }
    for (const auto& timer : std::exchange(waiting, {})) timer->cancel();
  }

  void begin() {
    const auto now = Clock::now();
    const bool slow = now - begun_at > limits.slow_after;
    if (under_way >= limits.lookups_max || (under_way > 0 && !slow)) return;
    try {
      std::thread looking([this_state = weak_from_this(), gate = gate, io = io, how = resolve,
                           name = host, service = port] {
        Addresses addresses = how(name, service);
        const std::lock_guard lock(gate->mutex);
        if (!gate->open) return;
        asio::post(io, [this_state, addresses = std::move(addresses)]() mutable {
          if (const auto state = this_state.lock()) state->heard(std::move(addresses));
        });
      });
      looking.detach();
      ++under_way;
      begun_at = now;
    } catch (const std::system_error& no_thread) {
      last_error = no_thread.what();
    }
  }
};

Addresses resolve_by_system(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &list);
  if (error != 0) return {{}, ::gai_strerror(error)};
  Addresses addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    tcp::endpoint endpoint;
    if (entry->ai_addrlen > endpoint.capacity()) continue;
    std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
    endpoint.resize(entry->ai_addrlen);
    addresses.endpoints.push_back(endpoint);
  }
  ::freeaddrinfo(list);
  if (addresses.endpoints.empty()) addresses.error = "the name has no address";
  return addresses;
}

NameLookup::NameLookup(asio::any_io_executor io, std::string host, std::string port,
                       NameLimits limits, Resolve resolve)
    : state_(std::make_shared<State>(std::move(io), std::move(host), std::move(port), limits,
                                     std::move(resolve))) {}

NameLookup::~NameLookup() {
  const std::lock_guard lock(state_->gate->mutex);
  state_->gate->open = false;
}

std::size_t NameLookup::under_way() const { return state_->under_way; }

void NameLookup::not_there() { state_->fresh_until = {}; }

asio::awaitable<Addresses> NameLookup::find(Clock::time_point deadline) {
  const auto state = state_;
  if (!state->literal.endpoints.empty()) co_return state->literal;
  const auto asked = Clock::now();
  if (asked < state->fresh_until) co_return state->found;
  state->begin();
  // What is known already is used when the answer takes long.
  const auto until =
      state->known(asked) ? std::min(deadline, asked + state->limits.patience) : deadline;
  if (state->under_way > 0) {
    const auto timer = std::make_shared<asio::steady_timer>(state->io, until);
    state->waiting.push_back(timer);
    boost::system::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await timer->async_wait(token);
    std::erase(state->waiting, timer);
  }
  if (state->known(Clock::now())) co_return state->found;
  if (state->under_way > 0) co_return Addresses{{}, "its name is not found in time"};
  co_return Addresses{{}, "its name is not found: " + state->last_error};
}

}  // namespace txcoord::remote
