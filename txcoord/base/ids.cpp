// uuid v7 and random hex, from the kernel's random source read in blocks.
#include "txcoord/base/ids.hpp"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <system_error>

namespace txcoord {
namespace {

constexpr char hex_digits[] = "0123456789abcdef";

// One system call fills 256 bytes: an id costs no system call of its own. Per thread, so no lock.
class RandomBytes {
 public:
  void take(std::uint8_t* out, std::size_t count) {
    for (std::size_t done = 0; done < count;) {
      if (next_ == block_.size()) refill();
      const std::size_t part = std::min(count - done, block_.size() - next_);
      std::memcpy(out + done, block_.data() + next_, part);
      next_ += part;
      done += part;
    }
  }

 private:
  void refill() {
    // Up to 256 bytes getrandom() is never cut short, once the kernel's pool is ready.
    ssize_t got = -1;
    do {
      got = ::getrandom(block_.data(), block_.size(), 0);
    } while (got < 0 && errno == EINTR);
    if (got != static_cast<ssize_t>(block_.size())) {
      throw std::system_error(errno, std::generic_category(), "getrandom");
    }
    next_ = 0;
  }

  std::array<std::uint8_t, 256> block_{};
  std::size_t next_ = block_.size();
};

void random_bytes(std::uint8_t* out, std::size_t count) {
  thread_local RandomBytes source;
  source.take(out, count);
}

// 48 bits of milliseconds and 12 bits that count within one (RFC 9562, 6.2 method 1): never the
// same twice, never backwards, even when the clock steps back.
std::uint64_t next_tick() {
  static std::atomic<std::uint64_t> last{0};
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  const std::uint64_t fresh = static_cast<std::uint64_t>(now.count()) << 12U;
  std::uint64_t seen = last.load(std::memory_order_relaxed);
  std::uint64_t tick = 0;
  do {
    tick = fresh > seen ? fresh : seen + 1;
  } while (!last.compare_exchange_weak(seen, tick, std::memory_order_relaxed));
  return tick;
}

}  // namespace

std::string uuid_v7() {
  const std::uint64_t tick = next_tick();
  std::array<std::uint8_t, 16> bytes{};
  for (unsigned i = 0; i < 6; ++i) bytes[i] = static_cast<std::uint8_t>(tick >> (52U - 8U * i));
  bytes[6] = static_cast<std::uint8_t>(0x70U | ((tick >> 8U) & 0x0FU));
  bytes[7] = static_cast<std::uint8_t>(tick);
  random_bytes(bytes.data() + 8, 8);
  bytes[8] = static_cast<std::uint8_t>(0x80U | (bytes[8] & 0x3FU));

  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    text.push_back(hex_digits[bytes[i] >> 4U]);
    text.push_back(hex_digits[bytes[i] & 0x0FU]);
  }
  return text;
}

bool valid_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (c != '-') return false;
    } else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
      return false;
    }
  }
  return true;
}

std::string random_hex(std::size_t digits) {
  std::string text;
  text.reserve(digits + 1);
  while (text.size() < digits) {
    std::uint8_t byte = 0;
    random_bytes(&byte, 1);
    text.push_back(hex_digits[byte >> 4U]);
    text.push_back(hex_digits[byte & 0x0FU]);
  }
  text.resize(digits);
  return text;
}

}  // namespace txcoord
