// Looking for lost sagas over all participants: see lost_sagas.hpp.
#include "txcoord/engine/lost_sagas.hpp"

#include <algorithm>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/health.hpp"
#include "txcoord/engine/words.hpp"

namespace txcoord::engine {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds clock_every{500};
constexpr std::size_t sagas_in_page = 500, orders_in_page = 200;
constexpr std::size_t looked_again_max = 100;  // in one round
constexpr seconds show_every{2}, shared_again{30}, retry_max{30};

}  // namespace

std::string_view to_string(LostAction action) {
  return action == LostAction::compensate ? "compensate" : "complete";
}

LostSagas::LostSagas(const asio::any_io_executor& io, const Settings& settings,
                     std::vector<Participant*> participants, LostServices services,
                     LostSagaLog& log, Metrics& metrics, std::function<RecoveryIdentity()> identity)
    : participants_(std::move(participants)),
      settings_(settings),
      services_(services),
      log_(log),
      metrics_(metrics),
      identity_(std::move(identity)),
      ticker_(io) {}

void LostSagas::search() {
  wanted_ = true;
  failures_ = 0;
  not_before_ = {};
}

asio::awaitable<void> LostSagas::run() {
  for (;;) {
    auto pause = ticker_.wait(clock_every);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
    const RecoveryIdentity identity = identity_();
    if (identity.epoch == 0) continue;
    const auto now = steady_clock::now();
    if ((wanted_ && now >= not_before_) ||
        (again_at_ != steady_clock::time_point{} && now >= again_at_)) {
      wanted_ = false;
      again_at_ = {};
      Round round{identity.installation};
      auto looking = look_everywhere(round);
      const auto failure = co_await std::move(looking);
      if (failure) {
        // Asked for again meanwhile, or not: it has not been done.
        wanted_ = true;
        not_before_ =
            steady_clock::now() + std::min(retry_max, seconds(1U << std::min(failures_++, 5U)));
        logging::warn(
            "lost sagas cannot be looked for yet",
            {{"failure", to_string(failure->kind)}, {"error", std::string_view(failure->message)}});
      } else {
        failures_ = 0;
        if (round.young) again_at_ = steady_clock::now() + seconds(settings_.saga.barriers_keep_s);
        if (round.shared) {
          wanted_ = true;
          not_before_ = steady_clock::now() + shared_again;
        }
      }
      shown_at_ = {};
    }
    if (steady_clock::now() - shown_at_ < show_every) continue;
    shown_at_ = steady_clock::now();
    auto looking_again = look_again();
    co_await std::move(looking_again);
    auto showing = show();
    co_await std::move(showing);
  }
}

// Nothing when all of it was looked at.
asio::awaitable<std::optional<Failure>> LostSagas::look_everywhere(Round& round) {
  for (Participant* participant : participants_) round.streams.push_back({participant});
  auto reading = read_pending_orders(round);
  auto failure = co_await std::move(reading);
  if (failure) co_return failure;
  for (;;) {
    auto filling = fill(round);
    failure = co_await std::move(filling);
    if (failure) co_return failure;
    if (round.shared) {
      logging::warn("lost sagas are not looked for: another installation works on this database");
      co_return std::nullopt;
    }
    auto found = take(round);
    if (found.empty()) break;
    auto looking = look_at(round, std::move(found));
    failure = co_await std::move(looking);
    if (failure) co_return failure;
  }
  auto pending = look_at_pending(round);
  failure = co_await std::move(pending);
  if (failure) co_return failure;
  auto trimming = trim(round);
  failure = co_await std::move(trimming);
  if (failure) co_return failure;
  if (round.lost > 0) {
    logging::error("the log has lost sagas: they need a person",
                   {{"sagas", static_cast<std::int64_t>(round.lost)}});
  }
  co_return std::nullopt;
}

// An order stands PENDING only for a saga, whose id it carries.
asio::awaitable<std::optional<Failure>> LostSagas::read_pending_orders(Round& round) {
  PageRequest page{orders_in_page, {}};
  for (;;) {
    auto reading = services_.orders.orders({{}, "PENDING"}, page);
    const auto orders = co_await std::move(reading);
    if (!orders) co_return named("order", orders.failure());
    if (orders.value().empty()) co_return std::nullopt;
    std::map<std::string, std::string> by_saga;
    std::vector<std::string> ids;
    for (const OrderView& order : orders.value()) {
      by_saga.emplace(order.transaction_id, order.order_id);
      ids.push_back(order.transaction_id);
    }
    auto asking = log_.unknown(ids);
    const auto unknown = co_await std::move(asking);
    if (!unknown) co_return named(log_name, unknown.failure());
    for (const std::string& id : unknown.value()) round.pending.emplace(id, by_saga.at(id));
    if (orders.value().size() < page.limit) co_return std::nullopt;
    page.after = orders.value().back().order_id;
  }
}

// Every stream has something to read, or is at its end.
asio::awaitable<std::optional<Failure>> LostSagas::fill(Round& round) {
  for (Stream& stream : round.streams) {
    if (stream.at_end || !stream.read.empty()) continue;
    BarriersQuery query{round.installation, {}, stream.after, sagas_in_page};
    auto listing = stream.participant->list_steps(std::move(query));
    const auto page = co_await std::move(listing);
    if (!page) co_return named(stream.participant->name(), page.failure());
    round.shared = round.shared || page.value().shared;
    stream.read.assign(page.value().sagas.begin(), page.value().sagas.end());
    stream.at_end = stream.read.size() < sagas_in_page;
    if (!stream.read.empty()) stream.after = stream.read.back().saga_id;
  }
  co_return std::nullopt;
}

// The sagas of which every participant's barriers are read: up to the least of the streams' ends.
LostSagas::FoundSagas LostSagas::take(Round& round) {
  std::optional<std::string> bound;
  for (const Stream& stream : round.streams) {
    if (stream.at_end) continue;
    if (!bound || stream.read.back().saga_id < *bound) bound = stream.read.back().saga_id;
  }
  FoundSagas found;
  for (Stream& stream : round.streams) {
    while (!stream.read.empty() && (!bound || stream.read.front().saga_id <= *bound)) {
      const SagaBarriers& barriers = stream.read.front();
      collect(found[barriers.saga_id], stream.participant->name(), barriers);
      stream.read.pop_front();
    }
  }
  return found;
}

// The barriers were read; now the log.
asio::awaitable<std::optional<Failure>> LostSagas::look_at(Round& round, FoundSagas found) {
  std::vector<std::string> ids;
  ids.reserve(found.size());
  for (const auto& [id, saga] : found) ids.push_back(id);
  auto asking = log_.unknown(std::move(ids));
  const auto unknown = co_await std::move(asking);
  if (!unknown) co_return named(log_name, unknown.failure());
  for (const std::string& id : unknown.value()) {
    const Found& saga = found.at(id);
    const auto pending = round.pending.find(id);
    if (pending != round.pending.end() || !protocol::ended_by_barriers(saga.barriers)) {
      std::string order_id = saga.order_id;
      if (order_id.empty() && pending != round.pending.end()) order_id = pending->second;
      auto examining = examine(id, order_id);
      const auto lost = co_await std::move(examining);
      if (!lost) co_return lost.failure();
      round.pending.erase(id);
      if (lost.value()) {
        ++round.lost;
        continue;
      }
    }
    const bool old = saga.age_seconds > static_cast<double>(settings_.saga.barriers_keep_s);
    if (old) round.ended.push_back(id);
    round.young = round.young || !old;
  }
  co_return std::nullopt;
}

// PENDING, and no barrier says why.
asio::awaitable<std::optional<Failure>> LostSagas::look_at_pending(Round& round) {
  for (const auto& [id, order_id] : round.pending) {
    auto examining = examine(id, order_id);
    const auto lost = co_await std::move(examining);
    if (!lost) co_return lost.failure();
    if (lost.value()) ++round.lost;
  }
  co_return std::nullopt;
}

// What ended, and nobody can ask for again: as the barriers of a saga that the log knows.
asio::awaitable<std::optional<Failure>> LostSagas::trim(Round& round) {
  if (!settings_.engine.trim || round.ended.empty()) co_return std::nullopt;
  if (raise_) {
    auto raising = raise_();
    if (const bool raised = co_await std::move(raising); !raised) co_return std::nullopt;
  }
  for (std::size_t from = 0; from < round.ended.size(); from += sagas_in_page) {
    const std::size_t end = std::min(from + sagas_in_page, round.ended.size());
    const std::vector<std::string> some(round.ended.begin() + static_cast<std::ptrdiff_t>(from),
                                        round.ended.begin() + static_cast<std::ptrdiff_t>(end));
    for (Participant* participant : participants_) {
      auto trimming = participant->trim_steps(some, identity_().fence_owner());
      const auto trimmed = co_await std::move(trimming);
      if (!trimmed) co_return named(participant->name(), trimmed.failure());
    }
  }
  logging::info("barriers of sagas that the log has lost, and that had ended, are trimmed",
                {{"sagas", static_cast<std::int64_t>(round.ended.size())}});
  co_return std::nullopt;
}

// Those that are shown: somebody may have repaired one by hand, or recovery its group.
asio::awaitable<void> LostSagas::look_again() {
  if (known_ == 0) co_return;
  auto listing = log_.list(looked_again_max, look_again_after_);
  const auto sagas = co_await std::move(listing);
  if (!sagas) co_return;
  look_again_after_.clear();
  if (sagas.value().size() == looked_again_max) look_again_after_ = sagas.value().back().saga_id;
  std::vector<std::string> ids;
  ids.reserve(sagas.value().size());
  for (const LostSaga& saga : sagas.value()) ids.push_back(saga.saga_id);
  auto asking = log_.unknown(ids);
  const auto unknown = co_await std::move(asking);
  if (!unknown) co_return;
  for (const LostSaga& saga : sagas.value()) {
    const auto& still = unknown.value();
    if (std::ranges::find(still, saga.saga_id) == still.end()) {
      auto going = log_.gone(saga.saga_id);
      co_await std::move(going);
      continue;
    }
    auto examining = examine(saga.saga_id, saga.order_id);
    const auto lost = co_await std::move(examining);
    if (!lost) co_return;
  }
}

asio::awaitable<void> LostSagas::show() {
  auto counting = log_.count();
  const auto count = co_await std::move(counting);
  if (!count) co_return;
  known_ = count.value();
  metrics_.sagas_lost(known_);
  auto trimming = log_.trim(seconds(settings_.saga.keep_s));
  co_await std::move(trimming);
}

}  // namespace txcoord::engine
