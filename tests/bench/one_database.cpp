// The baseline of `./run bench` and `./run compare`: the same order in ONE database, in one plain
// transaction, by as many clients as are told. It writes the rows that txcoord writes, into the
// same tables (the migrations of all five databases, each in a PostgreSQL schema of its own): the
// order, its items, reservations, stock, wallet, payment, shipment, four events, and the key with
// the whole answer. (Placing an order writes no ledger row: ledgers hold what came in.) A refused
// order leaves its reason under its key.
//
// Two ways, both with prepared statements:
//   plain      BEGIN, claim the key, lock the stock, lock the wallet, write, COMMIT: six round
//   trips statement  all of it in one statement: one round trip, the least that one order can cost
//
// There is no HTTP and no JSON here: the comparison favours this side by that much.
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/load_tally.hpp"
#include "tests/bench/order_stream.hpp"
#include "tests/bench/told.hpp"
#include "txcoord/base/ids.hpp"
#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/pg/session.hpp"

namespace {

using namespace txcoord;
using namespace txcoord::bench;

constexpr const char* address =
    R"({"name":"Tanaka Taro","postal_code":"150-0002","prefecture":"Tokyo","city":"Shibuya",)"
    R"("line1":"2-21-1 Shibuya"})";

constexpr pg::Statement claim_key{"bench_claim_key", R"(
  INSERT INTO log.operations (period, scope, idempotency_key, fingerprint, kind, outcome, order_id, gid,
                              answer)
  VALUES (1, 'anonymous POST /v1/orders', $1, sha256($1::text::bytea), 'place', 'confirmed', $2, '', $3)
  ON CONFLICT DO NOTHING)"};

// A refusal is kept under its key, like a confirmation: plainly in the transaction that claimed it,
// and in one of its own where the statement that would have claimed it failed.
constexpr pg::Statement turn_to_refusal{"bench_turn_to_refusal", R"(
  UPDATE log.operations SET outcome = 'refused', reason = $2, answer = ''
   WHERE idempotency_key = $1 AND scope = 'anonymous POST /v1/orders' AND period = 1)"};
constexpr pg::Statement record_refusal{"bench_record_refusal", R"(
  INSERT INTO log.operations (period, scope, idempotency_key, fingerprint, kind, outcome, order_id, gid,
                              reason)
  VALUES (1, 'anonymous POST /v1/orders', $1, sha256($1::text::bytea), 'place', 'refused', $2, '', $3))"};

// In the order of sku, in every transaction: no deadlock.
constexpr pg::Statement lock_stock{"bench_lock_stock", R"(
  SELECT unit_price, available FROM inventory.inventory WHERE sku = ANY ($1::text[])
   ORDER BY sku FOR NO KEY UPDATE)"};

constexpr pg::Statement lock_wallet{"bench_lock_wallet", R"(
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
const pg::Statement write_order{"bench_write_order", write_order_sql.c_str()};

// Stock is locked in the order of sku, whatever order the UPDATE would choose; CHECK constraints
// refuse what would become negative.
const std::string whole_order_sql = R"(
  WITH claimed AS (
    INSERT INTO log.operations (period, scope, idempotency_key, fingerprint, kind, outcome,
                                order_id, gid, answer)
    VALUES (1, 'anonymous POST /v1/orders', $13, sha256($13::text::bytea), 'place', 'confirmed',
            $1::uuid, '', $14)
  ), taken AS MATERIALIZED (
    SELECT l.sku, l.quantity, l.price
      FROM unnest($5::text[], $6::bigint[], $7::bigint[]) AS l (sku, quantity, price)
      JOIN inventory.inventory s ON s.sku = l.sku
     ORDER BY l.sku FOR NO KEY UPDATE OF s
  ),)" + std::string(writes) + R"(
  SELECT 1 / ((SELECT count(*) FROM stock) = cardinality($5::text[]) AND
              (SELECT count(*) FROM wallet) = 1)::integer)";
const pg::Statement whole_order{"bench_whole_order", whole_order_sql.c_str()};

struct Options {
  std::string dsn, way = "plain", answers, key_prefix;
  unsigned clients = 32;
  double seconds = 10, warm_up = 0;
  ToldSettings told;
  StreamSettings stream;
};

// An order of the stream with all that is written of it; ids and the answer that is kept under its
// key are made as the coordinator makes them.
struct Order {
  Order(const BenchOrder& drawn, const std::string& key_prefix);
  std::string answer() const;

  std::uint64_t index;
  Refusal refusal;
  std::string order_id = uuid_v7(), customer, correlation = uuid_v7(), payment_id = uuid_v7(),
              shipment_id = uuid_v7(), tracking = "MS" + shipment_id, key;
  std::vector<std::string> skus, reservation_ids;
  std::vector<std::int64_t> quantities, prices;
  std::int64_t total;
};

Order::Order(const BenchOrder& drawn, const std::string& key_prefix)
    : index(drawn.index),
      refusal(drawn.refusal),
      customer(drawn.customer),
      key(key_of(key_prefix, drawn.index)),
      total(drawn.total()) {
  std::vector<BenchLine> lines = drawn.lines;
  std::sort(lines.begin(), lines.end(),
            [](const BenchLine& a, const BenchLine& b) { return a.sku < b.sku; });
  for (const BenchLine& line : lines) {
    skus.push_back(line.sku);
    quantities.push_back(line.quantity);
    prices.push_back(unit_price);
    reservation_ids.push_back(uuid_v7());
  }
}

std::string Order::answer() const {
  JsonWriter out;
  out.begin_object().field("order_id", order_id).field("customer_id", customer);
  out.field("status", "CONFIRMED").field("mode", "2pc").field("total_amount", total);
  out.field("currency", "JPY").key("items").begin_array();
  for (std::size_t i = 0; i < skus.size(); ++i) {
    out.begin_object().field("sku", skus[i]).field("quantity", quantities[i]);
    out.field("unit_price", prices[i]).field("reservation_id", reservation_ids[i]);
    out.field("reservation_status", "RESERVED").end_object();
  }
  out.end_array().key("payment").begin_object().field("payment_id", payment_id);
  out.field("payment_method", "wallet").field("amount", total).field("status", "CAPTURED");
  out.end_object().key("shipment").begin_object().field("shipment_id", shipment_id);
  out.field("status", "ARRANGED").end_object();
  out.field("created_at", rfc3339(now_utc())).field("correlation_id", correlation);
  return out.end_object().take();
}

// What the clients share.
struct Common {
  std::atomic<std::uint64_t> next = 0;  // order of the stream
  std::atomic<std::uint64_t> answered = 0;
  std::atomic<Clock::time_point> end = Clock::time_point::max();
  std::atomic<bool> failed = false;
};

class Client {
 public:
  Client(const Options& options, const OrderStream& stream, Common& common)
      : options_(options),
        stream_(stream),
        common_(common),
        session_(options.dsn, {}, std::chrono::seconds(10)) {
    // Nothing but small statements on tables that are full: PostgreSQL's own choice of plans is
    // best.
    session_.exec_simple("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off");
  }

  void run() {
    while (Clock::now() < common_.end.load()) {
      const Order order(stream_.at(common_.next++), options_.key_prefix);
      Answer answer{.index = order.index, .intended = Clock::now()};
      bool again = true;
      while (again) {
        try {
          answer.reason = options_.way == "plain" ? place_plainly(order) : place_at_once(order);
          again = false;
        } catch (const pqxx::deadlock_detected&) {
          ++deadlocks;
          if (options_.way == "plain") session_.exec_simple("ROLLBACK");
        }
      }
      answer.outcome = answer.reason.empty() ? Outcome::confirmed : Outcome::refused;
      if (answer.outcome == Outcome::confirmed) answer.order_id = order.order_id;
      answer.answered = Clock::now();
      tally.add(std::move(answer));
      ++common_.answered;
    }
  }

  Tally tally;
  std::uint64_t deadlocks = 0;

 private:
  // Both return the reason of a refusal, or nothing.
  std::string place_plainly(const Order& order) {
    session_.exec_simple("BEGIN");
    if (session_.exec(claim_key, order.key, order.order_id, order.answer()).affected_rows() != 1)
      throw std::runtime_error("a key came twice");
    const char* reason = "";
    const pqxx::result stock = session_.exec(lock_stock, order.skus);
    if (stock.size() != 2) throw std::runtime_error("a product is missing");
    for (int i = 0; i < 2; ++i) {
      if (stock[i][0].as<std::int64_t>() != unit_price)
        throw std::runtime_error("a product costs something else");
      if (stock[i][1].as<std::int64_t>() < order.quantities[static_cast<std::size_t>(i)])
        reason = reason_of(Refusal::stock);
    }
    const pqxx::result wallet = session_.exec(lock_wallet, order.customer);
    if (wallet.size() != 1) throw std::runtime_error("a wallet is missing");
    if (order.refusal == Refusal::card) reason = reason_of(Refusal::card);
    if (*reason == '\0' && wallet[0][0].as<std::int64_t>() < order.total)
      reason = reason_of(Refusal::funds);
    if (*reason != '\0') {
      session_.exec(turn_to_refusal, order.key, reason);
    } else {
      session_.exec(write_order, order.order_id, order.customer, order.total, order.correlation,
                    order.skus, order.quantities, order.prices, order.reservation_ids,
                    order.payment_id, order.shipment_id, address, order.tracking);
    }
    session_.exec_simple("COMMIT");
    return reason;
  }

  std::string place_at_once(const Order& order) {
    try {
      if (order.refusal != Refusal::card) {
        session_.exec(whole_order, order.order_id, order.customer, order.total, order.correlation,
                      order.skus, order.quantities, order.prices, order.reservation_ids,
                      order.payment_id, order.shipment_id, address, order.tracking, order.key,
                      order.answer());
        return {};
      }
    } catch (const pqxx::check_violation&) {
      if (order.refusal == Refusal::none) throw;
    }
    session_.exec(record_refusal, order.key, order.order_id, reason_of(order.refusal));
    return reason_of(order.refusal);
  }

  static const char* reason_of(Refusal refusal) {
    switch (refusal) {
      case Refusal::none: return "";
      case Refusal::stock: return "OUT_OF_STOCK";
      case Refusal::funds: return "INSUFFICIENT_FUNDS";
      case Refusal::card: return "CARD_DECLINED";
    }
    return "";
  }

  const Options& options_;
  const OrderStream& stream_;
  Common& common_;
  pg::Session session_;
};

Clock::duration seconds_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Prints the windows until a line comes on standard input, or a client has failed. Throws when
// nobody is there to send one.
void wait_to_be_told(const ToldSettings& told, Clock::time_point start, const Common& common) {
  std::uint64_t counted = 0;
  for (auto end = start + seconds_of(told.window_s); !common.failed;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, std::max(0, static_cast<int>(left.count()))) > 0) {
      char line[64];
      if (::read(STDIN_FILENO, line, sizeof line) > 0) return;
      throw std::runtime_error("nobody is there any more to tell it when to measure");
    }
    if (Clock::now() < end) continue;
    const std::uint64_t answered = common.answered;
    print_window(answered - counted);
    counted = answered;
    end += seconds_of(told.window_s);
    if (end > start + told_within)
      throw std::runtime_error("nobody told it when to begin to measure");
  }
}

// Connects everybody, lets them start together, and prints one line of JSON.
void run(const Options& options) {
  const OrderStream stream(options.stream);
  Common common;
  std::vector<std::unique_ptr<Client>> clients;
  for (unsigned i = 0; i < options.clients; ++i)
    clients.push_back(std::make_unique<Client>(options, stream, common));

  Window window;
  std::barrier start(options.clients + 1, [&]() noexcept { window.start = Clock::now(); });
  {
    std::vector<std::jthread> threads;
    for (const auto& client : clients) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        try {
          client->run();
        } catch (const std::exception& error) {
          std::cerr << "one_database: " + std::string(error.what()) + "\n";
          common.failed = true;
        }
      });
    }
    start.arrive_and_wait();
    try {
      if (options.told.until_told) wait_to_be_told(options.told, window.start, common);
      window.measure(
          options.told.until_told ? Clock::now() : window.start + seconds_of(options.warm_up),
          seconds_of(options.seconds));
      common.end = window.end;
    } catch (...) {
      common.end = Clock::now();  // the threads are waited for on the way out
      throw;
    }
  }
  if (common.failed) throw std::runtime_error("a client failed: there is no result");

  Tally all;
  std::uint64_t deadlocks = 0;
  for (const auto& client : clients) {
    all.merge(std::move(client->tally));
    deadlocks += client->deadlocks;
  }
  if (!options.answers.empty()) all.write_answers(options.answers, options.key_prefix);
  std::string report = all.json(window, 0);
  report.insert(1, "\"deadlocks\": " + std::to_string(deadlocks) + ", ");
  std::cout << report << std::endl;
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
  app.add_option("--warm-up", options.warm_up)->check(CLI::Range(0.0, 600.0));
  app.add_flag("--until-told", options.told.until_told,
               "in place of --warm-up: a line on standard input begins the measured part");
  app.add_option("--window", options.told.window_s, "seconds that each line before that tells of")
      ->check(CLI::Range(0.05, 10.0));
  app.add_option("--key-prefix", options.key_prefix, "different for each run; random unless told");
  app.add_option("--seed", options.stream.seed, "of the orders; random unless told");
  app.add_option("--sku-prefix", options.stream.sku_prefix);
  app.add_option("--products", options.stream.products)->check(CLI::Range(2, 1'000'000));
  app.add_option("--wallets", options.stream.wallets)->check(CLI::Range(1, 1'000'000));
  app.add_option("--zipf", options.stream.zipf)->check(CLI::Range(0.0, 5.0));
  app.add_option("--refused", options.stream.refused_share)->check(CLI::Range(0.0, 1.0));
  app.add_option("--answers", options.answers, "file for one line an order");
  CLI11_PARSE(app, argc, argv);
  try {
    if (app.count("--seed") == 0) options.stream.seed = std::random_device{}();
    if (options.key_prefix.empty()) options.key_prefix = random_hex(16);
    run(options);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "one_database: " << error.what() << "\n";
    return 1;
  }
}
