// The baseline of `./run bench`: the same order in ONE database, in one plain transaction, by as
// many clients as are told. It writes the rows that txcoord writes, into the same tables (the
// migrations of all five databases, each in a PostgreSQL schema of its own; see bench.py).
//
// Two ways, both with prepared statements:
//   plain      BEGIN, claim the key, lock the stock, lock the wallet, write, COMMIT: six round
//   trips,
//              what a careful service does by hand
//   statement  all of it in one statement: one round trip, the least that one order can cost
//
// There is no HTTP and no JSON here: the comparison favours this side by that much.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "txcoord/base/ids.hpp"
#include "txcoord/pg/session.hpp"

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t unit_price = 100;  // of every product that bench.py loads
constexpr const char* address =
    R"({"name":"Tanaka Taro","postal_code":"150-0002","prefecture":"Tokyo","city":"Shibuya",)"
    R"("line1":"2-21-1 Shibuya"})";

constexpr txcoord::pg::Statement claim_key{"bench_claim_key", R"(
  INSERT INTO log.operations (period, scope, idempotency_key, fingerprint, kind, outcome, order_id, gid)
  VALUES (1, 'anonymous POST /v1/orders', $1, sha256($1::text::bytea), 'place', 'confirmed', $2, '')
  ON CONFLICT DO NOTHING)"};

// In the order of sku, in every transaction: no deadlock.
constexpr txcoord::pg::Statement lock_stock{"bench_lock_stock", R"(
  SELECT unit_price, available FROM inventory.inventory WHERE sku = ANY ($1::text[])
   ORDER BY sku FOR NO KEY UPDATE)"};

constexpr txcoord::pg::Statement lock_wallet{"bench_lock_wallet", R"(
  SELECT balance FROM payment.wallets WHERE customer_id = $1 FOR NO KEY UPDATE)"};

// What both ways write, as common table expressions over `taken`, the order's lines.
// $1 order, $2 customer, $3 total, $4 correlation, $5 skus, $6 quantities, $7 prices,
// $8 reservations, $9 payment, $10 shipment, $11 address, $12 tracking number
constexpr const char* writes = R"(
  header AS (
    INSERT INTO "order".orders (order_id, customer_id, status, mode, total_amount, transaction_id,
                                correlation_id, created_at, updated_at)
    VALUES ($1::uuid, $2, 'CONFIRMED', '2pc', $3, '', $4, now(), now())
  ), lines AS (
    INSERT INTO "order".order_items (order_id, line, sku, quantity, unit_price)
    SELECT $1::uuid, l.n, l.sku, l.quantity, l.price
      FROM unnest($5::text[], $6::bigint[], $7::bigint[]) WITH ORDINALITY
           AS l (sku, quantity, price, n)
  ), order_history AS (
    INSERT INTO "order".events (order_id, type, correlation_id, at)
    VALUES ($1::uuid, 'OrderConfirmed', $4, now())
  ), stock AS (
    UPDATE inventory.inventory i
       SET available = i.available - l.quantity, reserved = i.reserved + l.quantity,
           updated_at = now()
      FROM taken l WHERE i.sku = l.sku AND i.unit_price = l.price
    RETURNING 1
  ), reserved AS (
    INSERT INTO inventory.reservations (reservation_id, order_id, sku, quantity, status, created_at)
    SELECT l.id, $1::uuid, l.sku, l.quantity, 'RESERVED', now()
      FROM unnest($8::uuid[], $5::text[], $6::bigint[]) AS l (id, sku, quantity)
  ), stock_history AS (
    INSERT INTO inventory.events (order_id, type, correlation_id)
    VALUES ($1::uuid, 'StockReserved', $4)
  ), wallet AS (
    UPDATE payment.wallets SET balance = balance - $3, updated_at = now() WHERE customer_id = $2
    RETURNING 1
  ), paid AS (
    INSERT INTO payment.payments (payment_id, order_id, customer_id, amount, payment_method, status,
                                  created_at)
    VALUES ($9::uuid, $1::uuid, $2, $3, 'wallet', 'CAPTURED', now())
  ), payment_history AS (
    INSERT INTO payment.events (order_id, type, correlation_id)
    VALUES ($1::uuid, 'PaymentCaptured', $4)
  ), shipment AS (
    INSERT INTO shipping.shipments (shipment_id, order_id, shipping_address, tracking_number,
                                    carrier, status, created_at, updated_at)
    VALUES ($10::uuid, $1::uuid, $11::text::jsonb, $12, 'Musashino Delivery', 'ARRANGED',
            now(), now())
  ), shipping_history AS (
    INSERT INTO shipping.events (order_id, type, correlation_id, at)
    VALUES ($1::uuid, 'ShippingArranged', $4, now())
  ))";

// Division by zero when something was not as ordered that the tables' checks do not see.
const std::string write_order_sql = R"(
  WITH taken AS (
    SELECT * FROM unnest($5::text[], $6::bigint[], $7::bigint[]) AS l (sku, quantity, price)
  ),)" + std::string(writes) + R"(
  SELECT 1 / ((SELECT count(*) FROM stock) = cardinality($5::text[]) AND
              (SELECT count(*) FROM wallet) = 1)::integer)";
const txcoord::pg::Statement write_order{"bench_write_order", write_order_sql.c_str()};

// Stock is locked in the order of sku, whatever order the UPDATE would choose; CHECK constraints
// refuse what would become negative.
const std::string whole_order_sql = R"(
  WITH claimed AS (
    INSERT INTO log.operations (period, scope, idempotency_key, fingerprint, kind, outcome,
                                order_id, gid)
    VALUES (1, 'anonymous POST /v1/orders', $13, sha256($13::text::bytea), 'place', 'confirmed',
            $1::uuid, '')
  ), taken AS MATERIALIZED (
    SELECT l.sku, l.quantity, l.price
      FROM unnest($5::text[], $6::bigint[], $7::bigint[]) AS l (sku, quantity, price)
      JOIN inventory.inventory s ON s.sku = l.sku
     ORDER BY l.sku FOR NO KEY UPDATE OF s
  ),)" + std::string(writes) + R"(
  SELECT 1 / ((SELECT count(*) FROM stock) = cardinality($5::text[]) AND
              (SELECT count(*) FROM wallet) = 1)::integer)";
const txcoord::pg::Statement whole_order{"bench_whole_order", whole_order_sql.c_str()};

struct Options {
  std::string dsn, way = "plain", sku_prefix = "cold-";
  unsigned clients = 32, products = 1000, wallets = 10000;
  double seconds = 10;
};

struct Order {
  std::string order_id, customer, correlation, payment_id, shipment_id, tracking, key;
  std::vector<std::string> skus, reservation_ids;
  std::vector<std::int64_t> quantities{1, 1}, prices{unit_price, unit_price};
  std::int64_t total = 2 * unit_price;
};

class Client {
 public:
  explicit Client(const Options& options)
      : options_(options),
        random_(std::random_device{}()),
        session_(options.dsn, {}, std::chrono::seconds(10)) {
    // Nothing but small statements on tables that are full: PostgreSQL's own choice of plans is
    // best.
    session_.exec_simple("SET plan_cache_mode = auto");
  }

  void run_until(Clock::time_point end) {
    while (Clock::now() < end) {
      const Order order = make_order();
      const auto begun = Clock::now();
      try {
        options_.way == "plain" ? place_plainly(order) : place_in_one_statement(order);
      } catch (const pqxx::deadlock_detected&) {
        ++deadlocks;
        if (options_.way == "plain") session_.exec_simple("ROLLBACK");
        continue;
      }
      const auto ended = Clock::now();
      if (ended <= end)
        latencies_ms.push_back(std::chrono::duration<double, std::milli>(ended - begun).count());
    }
  }

  std::vector<double> latencies_ms;
  std::uint64_t deadlocks = 0;

 private:
  unsigned any_of(unsigned count) {
    return std::uniform_int_distribution<unsigned>(0, count - 1)(random_);
  }
  std::string sku(unsigned number) const { return options_.sku_prefix + std::to_string(number); }

  // Two different products; ids and key are made as the coordinator makes them.
  Order make_order() {
    Order order;
    const unsigned first = any_of(options_.products);
    order.skus = {sku(first), sku((first + 1 + any_of(options_.products - 1)) % options_.products)};
    std::sort(order.skus.begin(), order.skus.end());
    order.customer = "bench-" + std::to_string(any_of(options_.wallets));
    order.order_id = txcoord::uuid_v7();
    order.payment_id = txcoord::uuid_v7();
    order.shipment_id = txcoord::uuid_v7();
    order.reservation_ids = {txcoord::uuid_v7(), txcoord::uuid_v7()};
    order.correlation = txcoord::uuid_v7();
    order.tracking = "MS" + order.shipment_id;
    order.key = txcoord::uuid_v7();
    return order;
  }

  void place_plainly(const Order& order) {
    session_.exec_simple("BEGIN");
    if (session_.exec(claim_key, order.key, order.order_id).affected_rows() != 1)
      throw std::runtime_error("a key came twice");
    const pqxx::result stock = session_.exec(lock_stock, order.skus);
    if (stock.size() != 2) throw std::runtime_error("a product is missing");
    for (const auto& row : stock) {
      if (row[0].as<std::int64_t>() != unit_price || row[1].as<std::int64_t>() < 1)
        throw std::runtime_error("a product costs something else, or is sold out");
    }
    const pqxx::result wallet = session_.exec(lock_wallet, order.customer);
    if (wallet.size() != 1 || wallet[0][0].as<std::int64_t>() < order.total)
      throw std::runtime_error("a wallet is missing or empty");
    session_.exec(write_order, order.order_id, order.customer, order.total, order.correlation,
                  order.skus, order.quantities, order.prices, order.reservation_ids,
                  order.payment_id, order.shipment_id, address, order.tracking);
    session_.exec_simple("COMMIT");
  }

  void place_in_one_statement(const Order& order) {
    session_.exec(whole_order, order.order_id, order.customer, order.total, order.correlation,
                  order.skus, order.quantities, order.prices, order.reservation_ids,
                  order.payment_id, order.shipment_id, address, order.tracking, order.key);
  }

  const Options& options_;
  std::mt19937 random_;
  txcoord::pg::Session session_;
};

double percentile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

// Connects everybody, lets them start together, and prints one line of JSON.
void run(const Options& options) {
  std::vector<std::unique_ptr<Client>> clients;
  for (unsigned i = 0; i < options.clients; ++i)
    clients.push_back(std::make_unique<Client>(options));

  std::atomic<Clock::time_point> end{};
  const auto length =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds));
  std::barrier start(options.clients, [&]() noexcept { end = Clock::now() + length; });
  std::atomic<bool> failed = false;
  {
    std::vector<std::jthread> threads;
    for (const auto& client : clients) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        try {
          client->run_until(end);
        } catch (const std::exception& error) {
          std::cerr << "one_database: " + std::string(error.what()) + "\n";
          failed = true;
        }
      });
    }
  }
  if (failed) throw std::runtime_error("a client failed: there is no result");

  std::vector<double> latencies;
  std::uint64_t deadlocks = 0;
  for (const auto& client : clients) {
    latencies.insert(latencies.end(), client->latencies_ms.begin(), client->latencies_ms.end());
    deadlocks += client->deadlocks;
  }
  std::sort(latencies.begin(), latencies.end());
  std::printf(
      "{\"orders\": %zu, \"seconds\": %.3f, \"orders_per_s\": %.1f, \"deadlocks\": %llu, "
      "\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
      latencies.size(), options.seconds, static_cast<double>(latencies.size()) / options.seconds,
      static_cast<unsigned long long>(deadlocks), percentile(latencies, 0.5),
      percentile(latencies, 0.9), percentile(latencies, 0.99), percentile(latencies, 1));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Orders in one database, one plain transaction each: the baseline of ./run bench"};
  app.add_option("--dsn", options.dsn, "libpq connection string")->required();
  app.add_option("--way", options.way, "plain or statement")
      ->check(CLI::IsMember({"plain", "statement"}));
  app.add_option("--clients", options.clients)->check(CLI::Range(1, 512));
  app.add_option("--seconds", options.seconds)->check(CLI::Range(0.1, 3600.0));
  app.add_option("--sku-prefix", options.sku_prefix);
  app.add_option("--products", options.products)->check(CLI::Range(2, 1'000'000));
  app.add_option("--wallets", options.wallets)->check(CLI::Range(1, 1'000'000));
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "one_database: " << error.what() << "\n";
    return 1;
  }
}
