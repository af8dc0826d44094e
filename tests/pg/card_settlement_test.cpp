// Card settlement against a processor that fails, forgets and answers what nobody expects: what it
// answered is what is recorded, and no errand keeps another waiting.
#include "participants/payment/card_settlement.hpp"

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <set>

#include "participants/pg_pools.hpp"
#include "tests/pg/branch_rig.hpp"

namespace txcoord {
namespace {

using test::await;

Failure failure_of(FailureKind kind) { return {kind, true, "", "on purpose"}; }

// A processor of the test's own: its books are a map.
class ProcessorDouble final : public CardProcessor {
 public:
  std::map<std::string, CardState> books;  // by authorisation, or by request key
  std::map<std::string, int> told;         // how often each was in a call
  std::set<std::string> failing;           // a call with one of these fails whole
  FailureKind failure = FailureKind::error;

  asio::awaitable<Result<std::vector<CardOutcome>>> authorize(
      std::vector<CardRequest> requests) override {
    co_return std::vector<CardOutcome>(requests.size());
  }
  asio::awaitable<Result<CardStates>> capture(std::vector<std::string> ids) override {
    return change(std::move(ids), [](CardState state) {
      return state == CardState::authorized ? CardState::captured : state;
    });
  }
  asio::awaitable<Result<CardStates>> reverse(std::vector<std::string> ids) override {
    return change(std::move(ids), [](CardState state) {
      if (state == CardState::authorized) return CardState::voided;
      return state == CardState::captured ? CardState::refunded : state;
    });
  }
  asio::awaitable<Result<CardStates>> void_requests(std::vector<std::string> keys) override {
    for (const std::string& key : keys) books.try_emplace(key, CardState::authorized);
    return change(std::move(keys), [](CardState state) {
      return state == CardState::authorized ? CardState::voided : state;
    });
  }

 private:
  asio::awaitable<Result<CardStates>> change(std::vector<std::string> names,
                                             CardState (*after)(CardState)) {
    bool fails = false;
    for (const std::string& name : names) {
      ++told[name];
      fails = fails || failing.contains(name) || failing.contains("all");
    }
    if (fails) co_return failure_of(failure);
    CardStates states;
    for (const std::string& name : names) {
      const auto known = books.find(name);
      if (known != books.end()) known->second = after(known->second);
      states.push_back(known == books.end() ? CardState::unknown : known->second);
    }
    co_return states;
  }
};

struct CardRig {
  test::ServiceDatabase database{"payment"};
  boost::asio::io_context io;
  std::shared_ptr<pg::Pool> pool =
      make_pool(io.get_executor(), "payment", "cards", 2, test::settings_of(database), nullptr);
  std::shared_ptr<ProcessorDouble> processor = std::make_shared<ProcessorDouble>();
  CardSettlement settlement{pool, processor, std::chrono::seconds(3), nullptr};
  GlobalState states = GlobalState::active;  // of every gid but `ended`
  std::set<std::string> ended;
  bool log_away = false;

  CardRig() {
    settlement.intent_age_min = std::chrono::milliseconds(0);
    database.run("INSERT INTO wallets (customer_id) VALUES ('alice'), ('bob')");
  }

  // `count` card orders as their branches leave them, the processor's books included. Their
  // references are customer-1, customer-2, …
  void authorized(const std::string& customer, int count) {
    const std::string rows = "generate_series(1, " + std::to_string(count) + ") AS n";
    const std::string reference = "'" + customer + "-' || n";
    database.run(
        "INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method,"
        " status, provider_reference, created_at) SELECT gen_random_uuid(),"
        " gen_random_uuid(), '" +
        customer + "', 100, 'card', 'AUTHORIZED', " + reference + ", now() FROM " + rows);
    database.run(
        "INSERT INTO card_outbox (payment_id, order_id, customer_id, action,"
        " provider_reference) SELECT payment_id, order_id, customer_id, 'CAPTURE',"
        " provider_reference FROM payments WHERE customer_id = '" +
        customer + "'");
    for (int n = 1; n <= count; ++n)
      processor->books[customer + "-" + std::to_string(n)] = CardState::authorized;
  }
  // As the branch of a cancel leaves it.
  void given_back(const std::string& reference, const std::string& status = "VOIDED") {
    database.run("UPDATE payments SET status = '" + status + "' WHERE provider_reference = '" +
                 reference +
                 "'; INSERT INTO card_outbox (payment_id, order_id, customer_id, action,"
                 " provider_reference) SELECT payment_id, order_id, customer_id, 'REVERSE',"
                 " provider_reference FROM payments WHERE provider_reference = '" +
                 reference + "'");
  }
  void intent(const std::string& gid) {
    database.run("INSERT INTO card_authorizations (gid, payment_id, amount) VALUES ('" + gid +
                 "', gen_random_uuid(), 1)");
  }

  Result<CardSettlementReport> try_settle() {
    GlobalStates ask =
        [this](
            std::vector<protocol::Gid> gids) -> asio::awaitable<Result<std::vector<GlobalState>>> {
      if (log_away) co_return failure_of(FailureKind::unavailable);
      std::vector<GlobalState> known;
      for (const auto& gid : gids)
        known.push_back(ended.contains(format(gid)) ? GlobalState::aborted : states);
      co_return known;
    };
    return await(io, settlement.settle_cards(ask));
  }
  CardSettlementReport settle() {
    const auto report = try_settle();
    if (!report) FAIL(report.failure().message);
    return report.value();
  }
  std::string status(const std::string& reference) {
    return database.value("SELECT status FROM payments WHERE provider_reference = '" + reference +
                          "'");
  }
  std::string payments(const std::string& customer, const std::string& status) {
    return database.value("SELECT count(*) FROM payments WHERE customer_id = '" + customer +
                          "' AND status = '" + status + "'");
  }
  std::string events() {
    return database.value("SELECT string_agg(type, ' ' ORDER BY event_id) FROM events");
  }
  std::string errands() { return database.value("SELECT count(*) FROM card_outbox"); }
  // What was put aside is due again.
  void time_passes() {
    database.run(
        "UPDATE card_outbox SET next_at = '-infinity';"
        "UPDATE card_authorizations SET next_at = '-infinity'");
  }
};

TEST_CASE("cards: a held wallet's errands, more than a round takes, keep nobody else waiting",
          "[payment][card]") {
  CardRig rig;
  rig.authorized("alice", 450);
  auto holder = test::connect(rig.database.dsn());
  holder->exec_simple("BEGIN; SELECT 1 FROM wallets WHERE customer_id = 'alice' FOR UPDATE");
  rig.authorized("bob", 3);
  for (int round = 0; round < 4; ++round) rig.settle();
  CHECK(rig.payments("bob", "CAPTURED") == "3");
  CHECK(rig.payments("alice", "AUTHORIZED") == "450");
  CHECK(rig.settle().lag_seconds > 0);  // shown, not hidden
  for (const auto& [reference, times] : rig.processor->told) {
    CAPTURE(reference);
    CHECK(times == 1);  // not told again in every round
  }
  holder->exec_simple("ROLLBACK");
  for (int round = 0; round < 3; ++round) rig.settle();
  CHECK(rig.payments("alice", "CAPTURED") == "450");
  CHECK(rig.errands() == "0");
}

TEST_CASE("cards: two settlers at once tell the processor each errand once", "[payment][card]") {
  CardRig rig;
  rig.authorized("bob", 30);
  CardSettlement other{rig.pool, rig.processor, std::chrono::seconds(3), nullptr};
  const auto one = test::start(rig.io, rig.settlement.settle_ended({}));
  const auto two = test::start(rig.io, other.settle_ended({}));
  REQUIRE(test::finish(rig.io, one).ok());
  REQUIRE(test::finish(rig.io, two).ok());
  for (const auto& [reference, times] : rig.processor->told) CHECK(times == 1);
  rig.settle();
  CHECK(rig.payments("bob", "CAPTURED") == "30");
}

TEST_CASE("cards: an authorisation that makes its call fail stands alone, and steps back",
          "[payment][card]") {
  CardRig rig;
  rig.authorized("bob", 60);
  rig.processor->failing = {"bob-7"};
  CHECK_FALSE(rig.try_settle().ok());
  CHECK(rig.payments("bob", "CAPTURED") == "59");
  CHECK(rig.status("bob-7") == "AUTHORIZED");
  const int tries = rig.processor->told["bob-7"];
  CHECK(rig.settle().captured == 0);
  CHECK(rig.processor->told["bob-7"] == tries);  // it waits for its pause
  rig.time_passes();
  rig.authorized("alice", 3);
  CHECK_FALSE(rig.try_settle().ok());
  CHECK(rig.payments("alice", "CAPTURED") == "3");
  rig.processor->failing.clear();
  rig.time_passes();
  CHECK(rig.settle().captured == 1);
}

TEST_CASE("cards: a processor that is away is asked once in a round, and nothing is lost",
          "[payment][card]") {
  CardRig rig;
  rig.authorized("bob", 60);
  rig.processor->failing = {"all"};
  rig.processor->failure = FailureKind::unavailable;
  CHECK_FALSE(rig.try_settle().ok());
  CHECK(rig.processor->told["bob-1"] == 1);
  CHECK(rig.errands() == "60");
  rig.processor->failing.clear();
  rig.time_passes();
  rig.settle();
  rig.time_passes();
  rig.settle();
  CHECK(rig.payments("bob", "CAPTURED") == "60");
}

TEST_CASE("cards: what was captured before its cancel is refunded, and the payment says so",
          "[payment][card][I6]") {
  CardRig rig;
  rig.authorized("bob", 2);
  rig.processor->books["bob-1"] = CardState::captured;  // told, and its answer was lost
  rig.given_back("bob-1");
  rig.given_back("bob-2");
  CHECK(rig.settle().reversed == 2);
  CHECK(rig.status("bob-1") == "REFUNDED");
  CHECK(rig.status("bob-2") == "VOIDED");
  CHECK(rig.errands() == "0");
  CHECK(rig.database.value("SELECT string_agg(e.type, ' ' ORDER BY e.event_id) FROM events e JOIN "
                           "payments p USING (order_id) WHERE p.provider_reference = 'bob-1'") ==
        "PaymentRefunded CardReversed");
  CHECK(rig.processor->books["bob-1"] == CardState::refunded);
}

TEST_CASE("cards: a payment that was refunded here and only voided there is voided",
          "[payment][card][I6]") {
  CardRig rig;
  rig.authorized("bob", 1);
  rig.given_back("bob-1", "REFUNDED");
  rig.settle();
  CHECK(rig.status("bob-1") == "VOIDED");
  CHECK(rig.events() == "PaymentVoided CardReversed");
}

TEST_CASE("cards: a capture that the processor refuses needs a person, and is in nobody's way",
          "[payment][card]") {
  CardRig rig;
  rig.authorized("bob", 4);
  rig.processor->books["bob-1"] = CardState::voided;
  rig.processor->books["bob-2"] = CardState::declined;
  rig.processor->books.erase("bob-3");
  const auto report = rig.settle();
  CHECK(report.captured == 1);
  CHECK(report.refused == 3);
  CHECK(report.lag_seconds == 0);  // they are counted apart
  CHECK(rig.payments("bob", "AUTHORIZED") == "3");
  CHECK(
      rig.database.value("SELECT string_agg(answer, ' ' ORDER BY entry_id) FROM card_outbox WHERE "
                         "refused_at IS NOT NULL") == "VOIDED DECLINED UNKNOWN");
  rig.time_passes();
  rig.settle();
  CHECK(rig.processor->told["bob-1"] == 1);
  // The person's way out: the order is cancelled, and nothing is left to capture.
  rig.given_back("bob-1");
  CHECK(rig.settle().refused == 2);
  CHECK(rig.status("bob-1") == "VOIDED");
}

TEST_CASE("cards: a reversal of what the processor does not know is not called done",
          "[payment][card]") {
  CardRig rig;
  rig.authorized("bob", 1);
  rig.settle();
  rig.given_back("bob-1", "REFUNDED");
  rig.processor->books.clear();
  const auto report = rig.settle();
  CHECK(report.reversed == 0);
  CHECK(report.refused == 1);
  CHECK(rig.errands() == "1");
}

TEST_CASE("cards: an answer that no transaction can record steps back alone", "[payment][card]") {
  CardRig rig;
  rig.authorized("bob", 40);
  rig.database.run(
      "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
      "$$ BEGIN RAISE EXCEPTION 'no'; END $$;"
      "CREATE TRIGGER refuse BEFORE UPDATE ON payments FOR EACH ROW "
      "WHEN (OLD.provider_reference = 'bob-9') EXECUTE FUNCTION refuse()");
  CHECK_FALSE(rig.try_settle().ok());
  CHECK(rig.payments("bob", "CAPTURED") == "39");
  CHECK(rig.settle().captured == 0);  // it waits for its pause
  CHECK(rig.processor->told["bob-9"] == 1);
  rig.database.run("DROP TRIGGER refuse ON payments");
  rig.time_passes();
  CHECK(rig.settle().captured == 1);
}

TEST_CASE("cards: without the log captures go on, and nothing is voided", "[payment][card]") {
  CardRig rig;
  rig.authorized("bob", 1);
  rig.intent(format(test::gid_number(1)));
  rig.log_away = true;
  CHECK(rig.settle().captured == 1);
  CHECK(rig.database.value("SELECT count(*) FROM card_authorizations") == "1");
  rig.log_away = false;
  rig.states = GlobalState::aborted;
  CHECK(rig.settle().voided == 1);
}

TEST_CASE("cards: intents that stay active, more than a round takes, do not hide one that ended",
          "[payment][card]") {
  CardRig rig;
  for (std::uint64_t n = 1; n <= 450; ++n) rig.intent(format(test::gid_number(n)));
  rig.intent(format(test::gid_number(1000)));
  rig.ended = {format(test::gid_number(1000))};
  std::size_t voided = 0;
  for (int round = 0; round < 3; ++round) voided += rig.settle().voided;
  CHECK(voided == 1);
  rig.ended.insert(format(test::gid_number(1)));  // and from the oldest again
  for (int round = 0; round < 3; ++round) voided += rig.settle().voided;
  CHECK(voided == 2);
}

TEST_CASE("cards: a key that cannot be voided keeps no other from it", "[payment][card]") {
  CardRig rig;
  rig.states = GlobalState::aborted;
  for (std::uint64_t n = 1; n <= 20; ++n) rig.intent(format(test::gid_number(n)));
  rig.processor->failing = {rig.database.value(
      "SELECT gid || '/' || payment_id FROM card_authorizations ORDER BY gid LIMIT 1")};
  CHECK_FALSE(rig.try_settle().ok());
  CHECK(rig.database.value("SELECT count(*) FROM card_authorizations") == "1");
  rig.processor->failing.clear();
  rig.time_passes();
  CHECK(rig.settle().voided == 1);
}

TEST_CASE("cards: an unused intent whose money was taken is shown, and kept", "[payment][card]") {
  CardRig rig;
  rig.states = GlobalState::aborted;
  rig.intent(format(test::gid_number(1)));
  rig.processor
      ->books[rig.database.value("SELECT gid || '/' || payment_id FROM card_authorizations")] =
      CardState::captured;
  const auto report = rig.settle();
  CHECK(report.voided == 0);
  CHECK(report.refused == 1);
  CHECK(rig.database.value(
            "SELECT count(*) FROM card_authorizations WHERE refused_at IS NOT NULL") == "1");
}

}  // namespace
}  // namespace txcoord
