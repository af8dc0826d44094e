// Payment outside of branches: reads, and the PUT of a wallet, one transaction of one database.
#include <utility>

#include "participants/payment/payment.hpp"
#include "participants/payment/payment_branch.hpp"
#include "participants/pg_participant.hpp"
#include "participants/request_age.hpp"

namespace txcoord {
namespace {

constexpr pg::Statement read_wallet{"payment_read_wallet", R"(
  SELECT customer_id, balance FROM wallets WHERE customer_id = $1)"};

constexpr pg::Statement make_wallet{"payment_make_wallet", R"(
  INSERT INTO wallets (customer_id) VALUES ($1) ON CONFLICT (customer_id) DO NOTHING RETURNING 1)"};

constexpr pg::Statement lock_wallet{"payment_lock_wallet", R"(
  SELECT balance FROM wallets WHERE customer_id = $1 FOR NO KEY UPDATE)"};

constexpr pg::Statement set_balance{"payment_set_balance", R"(
  UPDATE wallets SET balance = $2, updated_at = now() WHERE customer_id = $1)"};

constexpr pg::Statement write_ledger{"payment_write_ledger", R"(
  INSERT INTO wallet_ledger (customer_id, delta, cause) VALUES ($1, $2, 'PUT'))"};

constexpr pg::Statement read_payment{"payment_read_payment", R"(
  SELECT payment_id, order_id, customer_id, payment_method, status, provider_reference, amount,
         created_at, updated_at
    FROM payments WHERE payment_id = $1::uuid)"};

constexpr pg::Statement list_of_order{"payment_list_of_order", R"(
  SELECT payment_id, order_id, customer_id, payment_method, status, provider_reference, amount,
         created_at, updated_at
    FROM payments WHERE order_id = $1::uuid)"};

// Ids are time-ordered (uuid v7): newest first is by id.
constexpr pg::Statement list_of_customer{"payment_list_of_customer", R"(
  SELECT payment_id, order_id, customer_id, payment_method, status, provider_reference, amount,
         created_at, updated_at
    FROM payments WHERE customer_id = $1 AND ($2 = '' OR payment_id < nullif($2, '')::uuid)
   ORDER BY payment_id DESC LIMIT $3)"};

constexpr pg::Statement list_events{"payment_list_events", R"(
  SELECT type, correlation_id, at FROM events WHERE order_id = $1::uuid ORDER BY at, event_id LIMIT 1000)"};

PaymentView payment_view(const pqxx::row& row) {
  PaymentView view;
  view.payment_id = row[0].as<std::string>();
  view.order_id = row[1].as<std::string>();
  view.customer_id = row[2].as<std::string>();
  view.payment_method = row[3].as<std::string>();
  view.status = row[4].as<std::string>();
  view.provider_reference = row[5].as<std::string>();
  view.amount = row[6].as<Money>();
  view.created_at = time_of(row[7]);
  view.updated_at = time_of(row[8]);
  return view;
}

std::vector<PaymentView> payment_views(const pqxx::result& result) {
  std::vector<PaymentView> views;
  for (const auto& row : result) views.push_back(payment_view(row));
  return views;
}

// The wallet's row first, as branches do; the ledger in the same transaction (I6).
WalletPut put(pg::Session& session, const std::string& customer_id, Money balance,
              AskedAt asked_at) {
  return in_local_transaction(session, [&] {
    refuse_old(session, asked_at);
    const bool made = !session.exec(make_wallet, customer_id).empty();
    const auto locked = session.exec(lock_wallet, customer_id);
    expect_rows(locked, 1, lock_wallet.name);
    const Money before = locked[0][0].as<Money>();
    expect_rows(session.exec(set_balance, customer_id, balance), 1, set_balance.name);
    if (balance != before) session.exec(write_ledger, customer_id, balance - before);
    return WalletPut{{customer_id, balance}, made};
  });
}

class PgPaymentService final : public PaymentService {
 public:
  PgPaymentService(std::shared_ptr<pg::Pool> pool, std::chrono::milliseconds deadline)
      : pool_(std::move(pool)), deadline_(deadline) {}

  asio::awaitable<Result<std::optional<WalletView>>> wallet(std::string customer_id) override {
    auto work = [id = std::move(customer_id)](pg::Session& session) -> std::optional<WalletView> {
      const auto result = session.exec(read_wallet, id);
      if (result.empty()) return std::nullopt;
      return WalletView{result[0][0].as<std::string>(), result[0][1].as<Money>()};
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<WalletPut>> put_wallet(std::string customer_id, Money balance) override {
    auto work = [id = std::move(customer_id), balance, asked_at = now_utc()](pg::Session& session) {
      return put(session, id, balance, asked_at);
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<std::optional<PaymentView>>> payment(std::string payment_id) override {
    auto work = [id = std::move(payment_id)](pg::Session& session) -> std::optional<PaymentView> {
      const auto result = session.exec(read_payment, id);
      if (result.empty()) return std::nullopt;
      return payment_view(result[0]);
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<std::vector<PaymentView>>> payments_of_order(
      std::string order_id) override {
    auto work = [id = std::move(order_id)](pg::Session& session) {
      return payment_views(session.exec(list_of_order, id));
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<std::vector<PaymentView>>> payments_of_customer(
      std::string customer_id, PageRequest page) override {
    auto work = [id = std::move(customer_id), page = std::move(page)](pg::Session& session) {
      return payment_views(session.exec(list_of_customer, id, page.after, page.limit));
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<std::vector<EventView>>> payment_events(std::string order_id) override {
    auto work = [id = std::move(order_id)](pg::Session& session) {
      std::vector<EventView> views;
      for (const auto& row : session.exec(list_events, id)) {
        views.push_back({row[0].as<std::string>(), row[1].as<std::string>(), time_of(row[2])});
      }
      return views;
    };
    return pool_->run(std::move(work), deadline_);
  }

 private:
  std::shared_ptr<pg::Pool> pool_;
  std::chrono::milliseconds deadline_;
};

}  // namespace

PaymentParts make_payment(const asio::any_io_executor& io, const DatabaseSettings& database,
                          Metrics* metrics, const ParticipantDeadlines& deadlines) {
  const PgPools pools = make_pools(io, "payment", database, metrics);
  const auto cards = make_pool(io, "payment", "cards", 2, database, metrics);
  // Half the vote's time at most: the locks come after the processor.
  const std::shared_ptr<CardProcessor> processor = make_card_simulator(cards, deadlines.vote / 2);
  const auto logic = std::make_shared<PaymentBranch>(cards, processor);
  return {std::make_unique<PgParticipant>(pools, logic, deadlines, metrics),
          std::make_unique<PgPaymentService>(pools.service, deadlines.service),
          std::make_unique<CardSettlement>(cards, processor, deadlines.service, metrics)};
}

}  // namespace txcoord
