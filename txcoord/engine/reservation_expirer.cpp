#include "txcoord/engine/reservation_expirer.hpp"

#include <algorithm>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/engine.hpp"

namespace txcoord::engine {
namespace {

constexpr std::chrono::milliseconds look_every{1000};
constexpr std::size_t orders_in_round_max = 500;

void warn(std::string_view what, const Failure& failure) {
  logging::warn("expired reservations wait", {{"at", what},
                                              {"failure", to_string(failure.kind)},
                                              {"sqlstate", std::string_view(failure.sqlstate)}});
}

}  // namespace

asio::awaitable<void> ReservationExpirer::run() {
  for (;;) {
    auto pause = ticker_.wait(look_every);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
    auto work = round();
    co_await std::move(work);
  }
}

asio::awaitable<void> ReservationExpirer::round() {
  auto listing = inventory_.expired_reservations(orders_in_round_max);
  const auto listed = co_await std::move(listing);
  if (!listed || listed.value().empty()) co_return;

  auto asking = set_apart_(listed.value());
  const auto apart = co_await std::move(asking);
  if (!apart) {
    warn("log", apart.failure());
    co_return;
  }
  std::vector<std::string> expired = listed.value();
  std::erase_if(expired, [&](const std::string& order_id) {
    return std::ranges::find(apart.value(), order_id) != apart.value().end();
  });
  std::vector<std::string> freed, kept = apart.value();
  auto failing = orders_.fail_pending(expired, std::string(expired_reason));
  const auto statuses = co_await std::move(failing);
  if (!statuses) {
    warn("order", statuses.failure());
    co_return;
  }
  for (const OrderFate& fate : statuses.value()) {
    // No order, no reservation: its saga was undone or never got that far.
    const bool over = fate.status.empty() || fate.status == "FAILED";
    (over ? freed : kept).push_back(fate.order_id);
  }
  if (!freed.empty()) {
    auto freeing = inventory_.expire(freed);
    const auto count = co_await std::move(freeing);
    if (!count) {
      warn("inventory", count.failure());
      co_return;
    }
    metrics_.reservations_expired(count.value());
    logging::warn("reservations expired: their orders failed",
                  {{"orders", static_cast<std::int64_t>(freed.size())}});
    for (const auto& order_id : freed) on_expired_(order_id);
  }
  if (kept.empty()) co_return;
  auto keeping = inventory_.keep_reservations(kept);
  const auto done = co_await std::move(keeping);
  if (!done) warn("inventory", done.failure());
}

}  // namespace txcoord::engine
