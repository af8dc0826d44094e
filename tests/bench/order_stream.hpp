// The orders of a measurement: order i is a function of the settings and i alone. Every variant of
// ./run compare gets the same orders in the same sequence, whoever sends them and however fast, and
// with every compiler (no std distribution: their results are not specified).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace txcoord::bench {

inline constexpr std::int64_t unit_price = 100;  // of every product that is loaded
// What refused orders ask for: a product that was never in stock, a wallet that is empty.
inline constexpr const char* sold_out_sku = "sold-out";
inline constexpr const char* poor_customer = "poor";

struct StreamSettings {
  std::uint64_t seed = 1;
  std::string sku_prefix = "cold-", customer_prefix = "bench-";
  unsigned products = 1000, wallets = 10000;
  double zipf = 0;           // exponent over the products; 0: all alike
  double refused_share = 0;  // of orders, in three equal kinds
};

struct BenchLine {
  std::string sku;
  std::int64_t quantity = 1;
};

enum class Refusal : std::uint8_t { none, stock, funds, card };

struct BenchOrder {
  std::uint64_t index = 0;
  std::string customer;
  std::vector<BenchLine> lines;  // two different products
  Refusal refusal = Refusal::none;

  std::int64_t total() const {
    std::int64_t sum = 0;
    for (const BenchLine& line : lines) sum += line.quantity * unit_price;
    return sum;
  }
};

// Numbers from a counter: number n of stream (seed, index) needs no number before it.
// Source: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators (2014).
class Draws {
 public:
  Draws(std::uint64_t seed, std::uint64_t index)
      : state_(mix(seed) ^ mix(index + 0x632be59bd9b4e019ULL)) {}

  std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15ULL); }
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }  // [0, 1)
  unsigned below(unsigned count) {
    return static_cast<unsigned>(((next() >> 32) * std::uint64_t{count}) >> 32);
  }

 private:
  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  std::uint64_t state_;
};

class OrderStream {
 public:
  explicit OrderStream(StreamSettings settings) : settings_(std::move(settings)) {
    double sum = 0;
    cumulative_.reserve(settings_.products);
    for (unsigned rank = 1; rank <= settings_.products; ++rank)
      cumulative_.push_back(sum += std::pow(rank, -settings_.zipf));
  }

  BenchOrder at(std::uint64_t index) const {
    Draws draws(settings_.seed, index);
    BenchOrder order;
    order.index = index;
    const bool refused = draws.unit() < settings_.refused_share;
    const auto kind = static_cast<Refusal>(1 + draws.below(3));
    if (refused) order.refusal = kind;
    order.customer =
        order.refusal == Refusal::funds
            ? poor_customer
            : settings_.customer_prefix + std::to_string(draws.below(settings_.wallets));
    const unsigned first = product(draws);
    unsigned second = product(draws);
    // A hot product comes again and again: after some draws the next one in rank is taken.
    for (int tries = 0; second == first && tries < 8; ++tries) second = product(draws);
    if (second == first) second = (first + 1) % settings_.products;
    order.lines = {{sku(first), 1 + draws.below(2)}, {sku(second), 1 + draws.below(2)}};
    // The other product is there to be had: somebody may be kept from it meanwhile.
    if (order.refusal == Refusal::stock) order.lines[1].sku = sold_out_sku;
    return order;
  }

  const StreamSettings& settings() const { return settings_; }

 private:
  unsigned product(Draws& draws) const {
    const double wanted = draws.unit() * cumulative_.back();
    const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), wanted);
    const auto rank = static_cast<unsigned>(found - cumulative_.begin());
    return std::min(rank, settings_.products - 1);
  }
  std::string sku(unsigned rank) const { return settings_.sku_prefix + std::to_string(rank); }

  StreamSettings settings_;
  std::vector<double> cumulative_;  // unnormalised: of the products up to each rank
};

}  // namespace txcoord::bench
