// See host_names.hpp.
#include "txcoord/pg/host_names.hpp"

#include <netdb.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace txcoord::pg {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t addresses_max = 8;
constexpr std::size_t lookups_max = 2;  // threads at once, for one name
// One that takes longer does not keep the next one from being begun.
constexpr seconds slow_after{2};
constexpr seconds stale_max{3600};
constexpr milliseconds give_up_poll{50};

struct ListFree {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using AddressList = std::unique_ptr<addrinfo, ListFree>;

AddressList look_up(const std::string& host, int flags, int& error) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  error = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  return AddressList(error == 0 ? list : nullptr);
}

}  // namespace

struct HostNames::State {
  struct Name {
    HostAddresses found;  // the last ones that were any
    Clock::time_point found_at{}, begun_at{};
    std::size_t under_way = 0;
    std::uint64_t heard = 0;  // how many lookups have ended
    std::string last_error;   // of the last one; empty if it found something

    bool known() const { return !found.numeric.empty() && Clock::now() < found_at + stale_max; }
  };

  explicit State(Resolve how) : resolve(std::move(how)) {}

  // With the mutex held.
  static void begin(const std::shared_ptr<State>& state, const std::string& host) {
    Name& name = state->names[host];
    const bool slow = Clock::now() - name.begun_at > slow_after;
    if (name.under_way >= lookups_max || (name.under_way > 0 && !slow)) return;
    try {
      std::thread([state, host] {
        HostAddresses addresses = state->resolve(host);
        const std::lock_guard lock(state->mutex);
        Name& heard = state->names[host];
        --heard.under_way;
        ++heard.heard;
        heard.last_error = addresses.numeric.empty() ? addresses.error : "";
        if (!addresses.numeric.empty()) {
          heard.found = std::move(addresses);
          heard.found_at = Clock::now();
        }
        state->changed.notify_all();
      }).detach();
      ++name.under_way;
      name.begun_at = Clock::now();
    } catch (const std::system_error& no_thread) {
      name.last_error = no_thread.what();
    }
  }

  const Resolve resolve;
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, Name> names;
};

HostNames::HostNames(Resolve resolve) : state_(std::make_shared<State>(std::move(resolve))) {}

HostAddresses HostNames::find(const std::string& host, Clock::time_point deadline,
                              const std::atomic<bool>* give_up) {
  std::unique_lock lock(state_->mutex);
  State::begin(state_, host);
  State::Name& name = state_->names[host];
  const std::uint64_t before = name.heard;
  const auto now = Clock::now();
  const auto until = name.known() ? now + (deadline - now) / 2 : deadline;
  while (name.under_way > 0 && name.heard == before && Clock::now() < until &&
         (give_up == nullptr || !give_up->load()))
    state_->changed.wait_until(lock, std::min(until, Clock::now() + give_up_poll));
  if (name.known()) return name.found;
  if (name.heard == before && name.under_way > 0) return {{}, "its name is not found in time"};
  return {{}, "its name is not found: " + name.last_error};
}

HostAddresses HostNames::resolve_by_system(const std::string& host) {
  int error = 0;
  const AddressList list = look_up(host, 0, error);
  if (list == nullptr) return {{}, ::gai_strerror(error)};
  HostAddresses addresses;
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    const int unreadable = ::getnameinfo(entry->ai_addr, entry->ai_addrlen, text.data(),
                                         text.size(), nullptr, 0, NI_NUMERICHOST);
    if (unreadable == 0) addresses.numeric.emplace_back(text.data());
    if (addresses.numeric.size() == addresses_max) break;
  }
  if (addresses.numeric.empty()) addresses.error = "it has no address";
  return addresses;
}

bool is_numeric(const std::string& host) {
  int error = 0;
  return look_up(host, AI_NUMERICHOST, error) != nullptr;
}

}  // namespace txcoord::pg
