// See payment_branch.hpp. One group is at most three statements under the vote and one under the
// prepare, whatever its size; its card orders are one call to the processor.
#include "participants/payment/payment_branch.hpp"

#include <map>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "txcoord/base/logging.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr pg::Statement insert_intents{"payment_insert_intents", R"(
  INSERT INTO card_authorizations (gid, payment_id, amount)
  SELECT $1, * FROM unnest($2::uuid[], $3::bigint[]))"};

// A payment's customer never changes, so it may be read before anything is locked.
constexpr pg::Statement find_customers{"payment_find_customers", R"(
  SELECT DISTINCT customer_id FROM payments WHERE order_id = ANY($1::uuid[]))"};

#define TXC_WALLETS_IN_KEY_ORDER                                                 \
  "SELECT customer_id, balance FROM wallets WHERE customer_id = ANY($1::text[])" \
  " ORDER BY customer_id FOR NO KEY UPDATE"
constexpr pg::Statement lock_free_wallets{"payment_lock_free_wallets",
                                          TXC_WALLETS_IN_KEY_ORDER " SKIP LOCKED"};
constexpr pg::Statement lock_wallets{"payment_lock_wallets", TXC_WALLETS_IN_KEY_ORDER};

// Without a lock: what came back as no row and is there all the same is held by somebody else.
constexpr pg::Statement existing_wallets{"payment_existing_wallets", R"(
  SELECT customer_id, xmax::text FROM wallets WHERE customer_id = ANY($1::text[]))"};

// In the statement after the locks. Who changes a payment's status holds its wallet row; the
// payments are locked too, since a person's session may hold one without its wallet.
constexpr pg::Statement lock_payments{"payment_lock_payments", R"(
  WITH mine AS MATERIALIZED (
    SELECT order_id, payment_id, customer_id, provider_reference, payment_method, amount, status
      FROM payments WHERE order_id = ANY($1::uuid[])
       FOR NO KEY UPDATE SKIP LOCKED
  )
  SELECT mine.*, NULL AS holder FROM mine
  UNION ALL
  SELECT p.order_id, p.payment_id, p.customer_id, p.provider_reference, p.payment_method, p.amount,
         p.status, p.xmax::text
    FROM payments p
   WHERE p.order_id = ANY($1::uuid[])
     AND p.payment_id NOT IN (SELECT payment_id FROM mine))"};

// Waits for no lock that the vote did not take: ids are ours, the payments that change are locked,
// and nobody touches an intent of a gid that is still active.
constexpr pg::Statement apply_group{"payment_apply", R"(
  WITH moved AS (
    UPDATE wallets w SET balance = w.balance + d.delta, updated_at = now()
      FROM unnest($1::text[], $2::bigint[]) AS d (customer_id, delta)
     WHERE w.customer_id = d.customer_id
    RETURNING 1
  ), placed AS (
    INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method, status,
                          provider_reference, created_at)
    SELECT * FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::text[],
                         $9::text[], $10::timestamptz[])
    RETURNING 1
  ), given_back AS (
    UPDATE payments p SET status = g.new_status, updated_at = now()
      FROM unnest($11::uuid[], $12::text[], $13::text[]) AS g (payment_id, old_status, new_status)
     WHERE p.payment_id = g.payment_id AND p.status = g.old_status
    RETURNING 1
  ), used AS (
    DELETE FROM card_authorizations a
     USING unnest($15::uuid[]) AS u (payment_id)
     WHERE a.gid = $14 AND a.payment_id = u.payment_id AND NOT a.voiding
    RETURNING 1
  ), errands AS (
    INSERT INTO card_outbox (payment_id, order_id, customer_id, action, provider_reference, correlation_id)
    SELECT * FROM unnest($16::uuid[], $17::uuid[], $18::text[], $19::text[], $20::text[], $21::text[])
    RETURNING 1
  ), history AS (
    INSERT INTO events (order_id, type, correlation_id)
    SELECT * FROM unnest($22::uuid[], $23::text[], $24::text[])
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM placed), (SELECT count(*) FROM given_back),
         (SELECT count(*) FROM used), (SELECT count(*) FROM errands), (SELECT count(*) FROM history))"};

class CardOutcomes final : public Preliminary {
 public:
  std::map<std::string, CardOutcome> by_payment_id;
};

bool is_card_order(const Operation& operation) {
  return operation.kind == OperationKind::place &&
         operation.place.payment_method == PaymentMethod::card;
}

PaymentMethod payment_method(std::string_view text) {
  if (text == "wallet") return PaymentMethod::wallet;
  if (text == "card") return PaymentMethod::card;
  throw std::runtime_error("payments.payment_method is unknown: " + std::string(text));
}

// The arrays of apply_group, filled operation by operation; several operations on one wallet become
// one delta, because an UPDATE … FROM applies only one of several matching rows.
struct Batch {
  std::map<std::string, Money> deltas;
  std::vector<std::string> ids, orders, customers, methods, statuses, references, placed_at;
  std::vector<Money> amounts;
  std::vector<std::string> back_ids, back_from, back_to;
  std::vector<std::string> used_intents;
  std::vector<std::string> errand_ids, errand_orders, errand_customers, errand_actions,
      errand_references, errand_correlations;
  std::vector<std::string> event_orders, event_types, event_correlations;

  void event(const Operation& operation, const char* type) {
    event_orders.push_back(operation.order_id);
    event_types.emplace_back(type);
    event_correlations.push_back(operation.correlation_id);
  }

  void errand(const Operation& operation, const std::string& payment_id,
              const std::string& customer, const char* action, const std::string& reference) {
    errand_ids.push_back(payment_id);
    errand_orders.push_back(operation.order_id);
    errand_customers.push_back(customer);
    errand_actions.emplace_back(action);
    errand_references.push_back(reference);
    errand_correlations.push_back(operation.correlation_id);
  }

  void place(const Operation& operation, const LockedWallets& rows) {
    const PlaceOrder& order = operation.place;
    const bool card = order.payment_method == PaymentMethod::card;
    const PaymentStatus status = card ? PaymentStatus::authorized : PaymentStatus::captured;
    ids.push_back(order.payment_id);
    orders.push_back(operation.order_id);
    customers.push_back(order.customer_id);
    amounts.push_back(order.total_amount);
    methods.emplace_back(to_string(order.payment_method));
    statuses.emplace_back(to_string(status));
    placed_at.push_back(rfc3339(operation.created_at));
    if (!card) {
      references.emplace_back();
      deltas[order.customer_id] -= order.total_amount;
      event(operation, "PaymentCaptured");
      return;
    }
    const std::string& reference = rows.cards.at(order.payment_id).authorization_id;
    references.push_back(reference);
    used_intents.push_back(order.payment_id);
    errand(operation, order.payment_id, order.customer_id, "CAPTURE", reference);
    event(operation, "PaymentAuthorized");
  }

  void cancel(const Operation& operation, const PaymentRow& payment) {
    const PaymentStatus after = payment.status == PaymentStatus::authorized
                                    ? PaymentStatus::voided
                                    : PaymentStatus::refunded;
    back_ids.push_back(payment.payment_id);
    back_from.emplace_back(to_string(payment.status));
    back_to.emplace_back(to_string(after));
    if (payment.method == PaymentMethod::wallet) {
      deltas[payment.customer_id] += payment.amount;
    } else {
      errand(operation, payment.payment_id, payment.customer_id, "REVERSE",
             payment.provider_reference);
    }
    event(operation, after == PaymentStatus::voided ? "PaymentVoided" : "PaymentRefunded");
  }
};

}  // namespace

std::string card_request_key(std::string_view gid, std::string_view payment_id) {
  return std::string(gid) + "/" + std::string(payment_id);
}

bool PaymentBranch::touches(const Operation& operation) const {
  return operation.kind == OperationKind::place || operation.kind == OperationKind::cancel;
}

asio::awaitable<Result<PreliminaryPtr>> PaymentBranch::before_vote(
    protocol::Gid gid, Operations operations, steady_clock::time_point until) const {
  const std::string gid_text = format(gid);
  std::vector<std::string> ids;
  std::vector<Money> amounts;
  std::vector<CardRequest> requests;
  for (const auto& operation : operations) {
    if (!is_card_order(*operation)) continue;
    const PlaceOrder& order = operation->place;
    ids.push_back(order.payment_id);
    amounts.push_back(order.total_amount);
    requests.push_back(
        {card_request_key(gid_text, order.payment_id), order.total_amount, order.payment_token});
  }
  if (requests.empty()) co_return PreliminaryPtr{};

  // Durable before the processor is asked: whatever it authorises can be found and let go again.
  auto work = [gid_text, ids, amounts](pg::Session& session) {
    session.exec(insert_intents, gid_text, ids, amounts);
    return Done{};
  };
  const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
  auto recording = cards_->run(std::move(work), left);
  const auto recorded = co_await std::move(recording);
  if (!recorded) {
    Failure failure = recorded.failure();
    failure.outcome_unknown = false;  // of this branch nothing can commit; a stray intent is voided
    co_return failure;
  }

  auto outcomes = std::make_shared<CardOutcomes>();
  auto asking = processor_->authorize(std::move(requests));
  auto answers = co_await std::move(asking);
  if (answers) {
    for (std::size_t i = 0; i < ids.size(); ++i)
      outcomes->by_payment_id[ids[i]] = answers.value()[i];
  } else {
    // The group's other orders need no card: they go on, and the card orders are told to come
    // again.
    logging::warn("card processor did not answer",
                  {{"gid", gid_text}, {"cause", to_string(answers.failure().kind)}});
  }
  co_return PreliminaryPtr{std::move(outcomes)};
}

std::unique_ptr<LockedRows> PaymentBranch::lock(pg::Session& session, const Operations& operations,
                                                const PreliminaryPtr& preliminary,
                                                LockMode mode) const {
  std::set<std::string> customers;
  std::vector<std::string> cancelled;
  for (const auto& operation : operations) {
    if (operation->kind == OperationKind::place) customers.insert(operation->place.customer_id);
    if (operation->kind == OperationKind::cancel) cancelled.push_back(operation->order_id);
  }
  if (!cancelled.empty()) {
    for (const auto& row : session.exec(find_customers, cancelled))
      customers.insert(row[0].as<std::string>());
  }

  auto rows = std::make_unique<LockedWallets>();
  if (preliminary) rows->cards = dynamic_cast<const CardOutcomes&>(*preliminary).by_payment_id;
  const pg::Statement& locking = mode == LockMode::wait ? lock_wallets : lock_free_wallets;
  for (const auto& row :
       session.exec(locking, std::vector<std::string>(customers.begin(), customers.end()))) {
    rows->balances.emplace(row[0].as<std::string>(), row[1].as<Money>());
    customers.erase(row[0].as<std::string>());
  }
  if (!customers.empty()) {
    const std::vector<std::string> missing(customers.begin(), customers.end());
    for (const auto& row : session.exec(existing_wallets, missing))
      rows->held.emplace(row[0].as<std::string>(), row[1].as<std::string>());
  }
  if (!cancelled.empty()) {
    for (const auto& row : session.exec(lock_payments, cancelled)) {
      if (!row[7].is_null())
        rows->held_orders.emplace(row[0].as<std::string>(), row[7].as<std::string>());
      PaymentRow payment;
      payment.payment_id = row[1].as<std::string>();
      payment.customer_id = row[2].as<std::string>();
      payment.provider_reference = row[3].as<std::string>();
      payment.method = payment_method(row[4].view());
      payment.amount = row[5].as<Money>();
      payment.status = payment_status(row[6].view());
      rows->payments.emplace(row[0].as<std::string>(), std::move(payment));
    }
  }
  return rows;
}

void PaymentBranch::apply(pg::Session& session, const Operations& operations,
                          const OperationMask& survivors, const LockedRows& rows,
                          const std::string& gid) const {
  const auto& locked = dynamic_cast<const LockedWallets&>(rows);
  Batch batch;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (!survivors[i]) continue;
    const Operation& operation = *operations[i];
    if (operation.kind == OperationKind::place) batch.place(operation, locked);
    if (operation.kind == OperationKind::cancel)
      batch.cancel(operation, locked.payments.at(operation.order_id));
  }
  if (batch.event_orders.empty()) return;

  std::vector<std::string> customers;
  std::vector<Money> deltas;
  for (const auto& [customer, delta] : batch.deltas) {
    customers.push_back(customer);
    deltas.push_back(delta);
  }
  const auto result = session.exec(
      apply_group, customers, deltas, batch.ids, batch.orders, batch.customers, batch.amounts,
      batch.methods, batch.statuses, batch.references, batch.placed_at, batch.back_ids,
      batch.back_from, batch.back_to, gid, batch.used_intents, batch.errand_ids,
      batch.errand_orders, batch.errand_customers, batch.errand_actions, batch.errand_references,
      batch.errand_correlations, batch.event_orders, batch.event_types, batch.event_correlations);
  const auto row = result[0];
  expect_count(row[0].as<std::size_t>(), customers.size(), apply_group.name);
  expect_count(row[1].as<std::size_t>(), batch.ids.size(), apply_group.name);
  expect_count(row[2].as<std::size_t>(), batch.back_ids.size(), apply_group.name);
  // An intent that is being voided was not deleted: what it authorised must not be used.
  expect_count(row[3].as<std::size_t>(), batch.used_intents.size(), apply_group.name);
  expect_count(row[4].as<std::size_t>(), batch.errand_ids.size(), apply_group.name);
  expect_count(row[5].as<std::size_t>(), batch.event_orders.size(), apply_group.name);
}

}  // namespace txcoord
