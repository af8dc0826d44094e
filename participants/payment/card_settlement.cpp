// See card_settlement.hpp.
#include "participants/payment/card_settlement.hpp"

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "participants/branch_logic.hpp"
#include "participants/payment/payment_branch.hpp"

namespace txcoord {
namespace {

constexpr std::int64_t round_rows_max =
    200;  // errands, intents, marked intents: each for one round

// A capture of a payment that was cancelled since is only crossed off.
constexpr pg::Statement read_errands{"card_read_errands", R"(
  SELECT o.entry_id, o.customer_id, o.action, o.provider_reference, p.status = 'AUTHORIZED'
    FROM card_outbox o JOIN payments p USING (payment_id)
   ORDER BY o.entry_id LIMIT $1)"};

// Wallets are the parents of payments. SKIP LOCKED: an in-doubt wallet is left for a later round.
constexpr pg::Statement lock_free_wallets{"card_lock_wallets", R"(
  SELECT customer_id FROM wallets WHERE customer_id = ANY($1::text[])
   ORDER BY customer_id FOR NO KEY UPDATE SKIP LOCKED)"};

constexpr pg::Statement finish_errands{"card_finish_errands", R"(
  WITH finished AS (
    DELETE FROM card_outbox WHERE entry_id = ANY($1::bigint[])
    RETURNING payment_id, order_id, action, correlation_id
  ), captured AS (
    UPDATE payments p SET status = 'CAPTURED', updated_at = now()
      FROM finished f
     WHERE f.action = 'CAPTURE' AND p.payment_id = f.payment_id AND p.status = 'AUTHORIZED'
    RETURNING f.order_id, f.correlation_id
  ), reversed AS (
    SELECT order_id, correlation_id FROM finished WHERE action = 'REVERSE'
  ), history AS (
    INSERT INTO events (order_id, type, correlation_id)
    SELECT order_id, 'PaymentCaptured', correlation_id FROM captured
    UNION ALL
    SELECT order_id, 'CardReversed', correlation_id FROM reversed
  )
  SELECT (SELECT count(*) FROM captured), (SELECT count(*) FROM reversed))"};

constexpr pg::Statement list_intents{"card_list_intents", R"(
  SELECT DISTINCT gid FROM (
    SELECT gid FROM card_authorizations
     WHERE NOT voiding AND created_at <= now() - $1::bigint * interval '1 millisecond'
     ORDER BY created_at LIMIT $2) oldest)"};

constexpr pg::Statement mark_intents{"card_mark_intents", R"(
  WITH unused AS (
    SELECT gid, payment_id FROM card_authorizations
     WHERE gid = ANY($1::text[]) AND NOT voiding
       FOR UPDATE SKIP LOCKED
  )
  UPDATE card_authorizations a SET voiding = true
    FROM unused u WHERE a.gid = u.gid AND a.payment_id = u.payment_id)"};

constexpr pg::Statement list_marked{"card_list_marked", R"(
  SELECT gid, payment_id FROM card_authorizations WHERE voiding ORDER BY created_at LIMIT $1)"};

constexpr pg::Statement delete_marked{"card_delete_marked", R"(
  DELETE FROM card_authorizations a USING unnest($1::text[], $2::uuid[]) AS v (gid, payment_id)
   WHERE a.gid = v.gid AND a.payment_id = v.payment_id AND a.voiding)"};

constexpr pg::Statement read_lag{"card_outbox_lag", R"(
  SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM card_outbox)"};

struct Errand {
  std::int64_t entry_id = 0;
  std::string customer_id, provider_reference;
  bool capture = false;
  bool authorized = false;  // the payment still waits for its capture
};

std::vector<Errand> errands_of(const pqxx::result& result) {
  std::vector<Errand> errands;
  for (const auto& row : result) {
    errands.push_back({row[0].as<std::int64_t>(), row[1].as<std::string>(),
                       row[3].as<std::string>(), row[2].view() == "CAPTURE", row[4].as<bool>()});
  }
  return errands;
}

struct Finished {
  std::size_t captured = 0, reversed = 0;
};

// After the processor did it: the payments' new state, the history and the crossing off are one
// transaction. A crash before it means that the processor is told again, which changes nothing.
Finished finish(pg::Session& session, const std::vector<Errand>& errands) {
  return in_local_transaction(session, [&] {
    std::set<std::string> customers;
    for (const Errand& errand : errands) customers.insert(errand.customer_id);
    std::set<std::string> locked;
    const std::vector<std::string> wanted(customers.begin(), customers.end());
    for (const auto& row : session.exec(lock_free_wallets, wanted))
      locked.insert(row[0].as<std::string>());
    std::vector<std::int64_t> entries;
    for (const Errand& errand : errands) {
      if (locked.contains(errand.customer_id)) entries.push_back(errand.entry_id);
    }
    const auto result = session.exec(finish_errands, entries);
    return Finished{result[0][0].as<std::size_t>(), result[0][1].as<std::size_t>()};
  });
}

}  // namespace

CardSettlement::CardSettlement(std::shared_ptr<pg::Pool> pool,
                               std::shared_ptr<CardProcessor> processor,
                               std::chrono::milliseconds deadline, Metrics* metrics)
    : pool_(std::move(pool)),
      processor_(std::move(processor)),
      deadline_(deadline),
      metrics_(metrics) {}

asio::awaitable<Result<CardSettlementReport>> CardSettlement::settle_cards(GlobalStates states) {
  CardSettlementReport report;
  const auto errands = co_await run_errands(report);
  const auto marked = co_await mark_unused(states);
  const auto voided = co_await void_marked(report);
  const auto left = co_await lag();
  if (left) {
    report.lag_seconds = left.value();
    if (metrics_ != nullptr) metrics_->outbox_lag(report.lag_seconds);
  } else if (metrics_ != nullptr) {
    metrics_->outbox_lag_not_seen();
  }
  if (!errands) co_return errands.failure();
  if (!marked) co_return marked.failure();
  if (!voided) co_return voided.failure();
  if (!left) co_return left.failure();
  co_return report;
}

asio::awaitable<Result<Done>> CardSettlement::run_errands(CardSettlementReport& report) {
  auto read = [](pg::Session& session) {
    return errands_of(session.exec(read_errands, round_rows_max));
  };
  auto reading = pool_->run(std::move(read), deadline_);
  auto errands = co_await std::move(reading);
  if (!errands) co_return errands.failure();
  std::vector<std::string> captures, reversals;
  for (const Errand& errand : errands.value()) {
    if (!errand.capture) reversals.push_back(errand.provider_reference);
    if (errand.capture && errand.authorized) captures.push_back(errand.provider_reference);
  }
  if (errands.value().empty()) co_return Done{};
  // Captures first: a reversal of the same payment is always the later entry. (A capture that still
  // comes second, from another process, finds the authorisation reversed, and it stays so.)
  if (!captures.empty()) {
    auto capturing = processor_->capture(std::move(captures));
    const auto done = co_await std::move(capturing);
    if (!done) co_return done.failure();
  }
  if (!reversals.empty()) {
    auto reversing = processor_->reverse(std::move(reversals));
    const auto done = co_await std::move(reversing);
    if (!done) co_return done.failure();
  }
  auto record = [entries = std::move(errands).value()](pg::Session& session) {
    return finish(session, entries);
  };
  auto recording = pool_->run(std::move(record), deadline_);
  const auto finished = co_await std::move(recording);
  if (!finished) co_return finished.failure();
  report.captured = finished.value().captured;
  report.reversed = finished.value().reversed;
  co_return Done{};
}

asio::awaitable<Result<std::vector<protocol::Gid>>> CardSettlement::old_intents() {
  auto list = [age = static_cast<std::int64_t>(intent_age_min.count())](pg::Session& session) {
    std::vector<protocol::Gid> gids;
    for (const auto& row : session.exec(list_intents, age, round_rows_max)) {
      auto gid = protocol::parse_gid(row[0].view());
      if (gid) gids.push_back(std::move(*gid));
    }
    return gids;
  };
  return pool_->run(std::move(list), deadline_);
}

asio::awaitable<Result<Done>> CardSettlement::mark_unused(const GlobalStates& states) {
  auto listing = old_intents();
  const auto gids = co_await std::move(listing);
  if (!gids) co_return gids.failure();
  if (gids.value().empty()) co_return Done{};

  auto asking = states(gids.value());
  const auto known = co_await std::move(asking);
  if (!known) co_return known.failure();
  std::vector<std::string> ended;
  for (std::size_t i = 0; i < gids.value().size() && i < known.value().size(); ++i) {
    // Committed counts too: an order of the group may have fallen, and its card was not used. The
    // intents that were used are deleted, or locked by the branch until COMMIT PREPARED.
    if (known.value()[i] != GlobalState::active) ended.push_back(format(gids.value()[i]));
  }
  if (ended.empty()) co_return Done{};
  auto mark = [ended = std::move(ended)](pg::Session& session) {
    session.exec(mark_intents, ended);
    return Done{};
  };
  auto marking = pool_->run(std::move(mark), deadline_);
  co_return co_await std::move(marking);
}

asio::awaitable<Result<Done>> CardSettlement::void_marked(CardSettlementReport& report) {
  struct Marked {
    std::vector<std::string> gids, payment_ids;
  };
  auto list = [](pg::Session& session) {
    Marked marked;
    for (const auto& row : session.exec(list_marked, round_rows_max)) {
      marked.gids.push_back(row[0].as<std::string>());
      marked.payment_ids.push_back(row[1].as<std::string>());
    }
    return marked;
  };
  auto listing = pool_->run(std::move(list), deadline_);
  auto marked = co_await std::move(listing);
  if (!marked) co_return marked.failure();
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < marked.value().gids.size(); ++i) {
    keys.push_back(card_request_key(marked.value().gids[i], marked.value().payment_ids[i]));
  }
  if (keys.empty()) co_return Done{};
  auto voiding = processor_->void_requests(std::move(keys));
  const auto voided = co_await std::move(voiding);
  if (!voided) co_return voided.failure();
  auto forget = [rows = std::move(marked).value()](pg::Session& session) {
    return static_cast<std::size_t>(
        session.exec(delete_marked, rows.gids, rows.payment_ids).affected_rows());
  };
  auto forgetting = pool_->run(std::move(forget), deadline_);
  const auto deleted = co_await std::move(forgetting);
  if (!deleted) co_return deleted.failure();
  report.voided = deleted.value();
  co_return Done{};
}

asio::awaitable<Result<double>> CardSettlement::lag() {
  auto work = [](pg::Session& session) { return session.exec(read_lag)[0][0].as<double>(); };
  return pool_->run(std::move(work), deadline_);
}

}  // namespace txcoord
