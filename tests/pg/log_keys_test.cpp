// Key periods and trimming: a rotation lets no key in twice, and nothing grows without bound.
#include "saga_log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

namespace {

constexpr auto never = std::chrono::seconds(1'000'000);

// Claims and confirms the keys one after another, whatever others do; how many it got.
asio::awaitable<int> take_keys(TransactionLog& log, Gid gid, std::vector<std::string> keys) {
  int taken = 0;
  for (const std::string& key : keys) {
    gid = next(gid);
    const Operations group = group_of({key});
    auto claiming = log.claim(gid, group);
    const Result<ClaimReply> claimed = co_await std::move(claiming);
    if (!claimed) continue;  // a lock timeout: nothing was taken
    if (claimed.value().votes[0].answer == Answer::yes) {
      auto deciding = log.decide(gid, confirm_all(1));
      const Result<Done> decided = co_await std::move(deciding);
      taken += decided.ok() ? 1 : 0;
    } else {
      co_await log.release(gid);
    }
  }
  co_return taken;
}

}  // namespace

TEST_CASE("rotation_under_concurrent_claims_never_lets_a_key_in_twice") {
  LogTest test;
  auto one = test.make_log();
  auto two = test.make_log();
  std::vector<std::string> keys;
  for (int i = 0; i < 150; ++i) keys.push_back("key-" + std::to_string(i));
  std::vector<std::shared_ptr<Running<int>>> takers;
  for (int i = 0; i < 6; ++i) {
    TransactionLog& log = i % 2 == 0 ? *one : *two;
    const Gid gid = test.first_gid(log, "c" + std::to_string(i));
    takers.push_back(start(test.io, take_keys(log, gid, keys)));
  }
  const auto busy = [&] {
    for (const auto& taker : takers)
      if (!taker->done()) return true;
    return false;
  };
  int rotations = 0;
  while (busy() && rotations < 200) {
    const auto trimmed = await(test.io, one->trim(never, 0s, never));
    REQUIRE(trimmed.ok());
    ++rotations;
    drive(test.io, 10ms);
  }
  int taken = 0;
  for (const auto& taker : takers) taken += finish(test.io, taker);
  CHECK(test.count("key_periods") > 5);
  CHECK(taken > 100);  // a key that all failed to claim in time is taken by nobody
  CHECK(test.count("operations") == taken);
  CHECK(test.count(
            "(SELECT idempotency_key FROM operations GROUP BY 1 HAVING count(*) > 1) twice") == 0);
}

TEST_CASE("rotation_waits_for_no_open_claim_longer_than_a_moment_and_succeeds_later") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  REQUIRE(await(test.io, log->claim(gid, group_of({"k"}))).ok());
  const auto started = Clock::now();
  REQUIRE(await(test.io, log->trim(never, 0s, never)).ok());
  CHECK(since(started) < 2s);
  CHECK(test.count("key_periods") == 1);
  REQUIRE(await(test.io, log->decide(gid, confirm_all(1))).ok());
  REQUIRE(await(test.io, log->trim(never, 0s, never)).ok());
  CHECK(test.count("key_periods") == 2);
  // The key of the older period is still one key.
  CHECK(await(test.io, log->claim(next(gid), group_of({"k"}))).value().votes[0].answer ==
        Answer::duplicate);
}

TEST_CASE("rotation_that_waits_is_not_overtaken_by_claims_that_come_later") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  REQUIRE(await(test.io, log->claim(gid, group_of({"open"}))).ok());
  auto rotation = test.session();
  rotation->exec_simple("SELECT txc_add_key_period(2)");
  std::thread rotating([&] {
    rotation->exec_simple("BEGIN; SELECT pg_advisory_xact_lock(" TXC_KEY_PERIOD_LOCK
                          ");"
                          "INSERT INTO key_periods (period) VALUES (2); COMMIT");
  });
  test.database.wait_until_blocked(rotation->backend_pid());
  auto later = start(test.io, log->claim(next(gid), group_of({"later"})));
  drive(test.io, 200ms);
  CHECK_FALSE(later->done());
  REQUIRE(await(test.io, log->decide(gid, confirm_all(1))).ok());
  rotating.join();
  REQUIRE(finish(test.io, later).ok());
  REQUIRE(await(test.io, log->decide(next(gid), confirm_all(1))).ok());
  CHECK(test.count("operations_1") == 1);
  CHECK(test.count("operations_2") == 1);
}

TEST_CASE("period_is_kept_until_its_last_key_is_old_enough_and_then_dropped_whole") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  test.decide_all(*log, gid, group_of({"old"}));
  REQUIRE(await(test.io, log->trim(never, 0s, never)).ok());
  test.decide_all(*log, next(gid), group_of({"new"}));
  REQUIRE(await(test.io, log->trim(never, never, 3600s)).ok());
  CHECK(test.count("operations") == 2);

  test.session()->exec_simple(
      "UPDATE key_periods SET started_at = started_at - interval '2 hours'");
  REQUIRE(await(test.io, log->trim(never, never, 3600s)).ok());
  CHECK(test.count("operations") == 1);
  CHECK(test.count("key_periods") == 1);
  CHECK(test.session()->exec_simple("SELECT to_regclass('operations_1')").at(0).at(0).is_null());
  CHECK(await(test.io, log->find_outcome(operation("new")->scope, "new")).value().has_value());
}

// I5: forgotten, the key would let the same request in beside its saga.
TEST_CASE("period_that_holds_a_pending_key_is_kept_until_its_saga_has_ended") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart slow = test.begin(owner, "slow");
  const SagaStart quick = test.begin(owner, "quick");
  test.record(owner, completed(quick.saga_id));
  REQUIRE(await(test.io, test.log->trim(never, 0s, never)).ok());
  CHECK(test.count("key_periods") == 2);

  for (int i = 0; i < 2; ++i) REQUIRE(await(test.io, test.log->trim(never, never, 0s)).ok());
  CHECK(test.count("key_periods") == 2);
  CHECK(test.count("operations_1") == 2);
  const auto again = await(test.io, test.sagas->start(owner, {saga_on("slow")})).value();
  CHECK_FALSE(again.at(0).started);
  CHECK(again.at(0).stored.value().gid == slow.saga_id);

  test.record(owner, completed(slow.saga_id));
  CHECK(test.outcome("slow").value().confirmed);
  REQUIRE(await(test.io, test.log->trim(never, never, 0s)).ok());
  CHECK(test.count("key_periods") == 1);
  CHECK(test.count("operations") == 0);
}

TEST_CASE("rotation_under_concurrent_starts_of_sagas_never_lets_a_key_in_twice") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  for (int round = 0; round < 20; ++round) {
    const std::string prefix = std::to_string(round) + "-";
    std::vector<std::shared_ptr<Running<Result<std::vector<SagaStartReply>>>>> starting;
    for (int i = 0; i < 3; ++i)
      starting.push_back(start(test.io, test.sagas->start(owner, sagas_on(prefix, 20))));
    REQUIRE(await(test.io, test.log->trim(never, 0s, never)).ok());
    int won = 0;
    for (const auto& one : starting)
      for (const SagaStartReply& reply : finish(test.io, one).value()) won += reply.started ? 1 : 0;
    CHECK(won == 20);
  }
  CHECK(test.count("key_periods") > 5);
  CHECK(test.count("operations") == 400);
  CHECK(test.count("saga_instances") == 400);
}

TEST_CASE("complete_decisions_are_forgotten_in_batches_and_what_a_person_must_see_stays") {
  LogTest test;
  auto log = test.make_log();
  constexpr std::size_t batch = 5000;
  constexpr std::int64_t rows = batch + 1000;
  test.session()->exec_simple(
      "INSERT INTO decisions (gid, coordinator, epoch, outcome, heuristic, decided_at, "
      "completed_at)"
      " SELECT 'txc_00000000_c1_1_00000000_' || n, 'c1', 1, 'commit', n = 1,"
      "        now() - interval '1 hour', CASE WHEN n > 2 THEN now() - interval '1 hour' END"
      " FROM generate_series(1, " +
      std::to_string(rows) +
      ") n;"
      "UPDATE decisions SET completed_at = now() - interval '1 hour' WHERE heuristic");
  const auto forget_old = [&](std::chrono::seconds keep) {
    const auto old = await(test.io, log->complete_before(keep, {}, batch)).value();
    std::vector<Gid> gids;
    for (const Decision& decision : old) gids.push_back(decision.gid);
    REQUIRE(await(test.io, log->forget(gids)).ok());
    return old.size();
  };
  CHECK(forget_old(7200s) == 0);
  CHECK(test.count("decisions") == rows);
  CHECK(forget_old(60s) == batch);
  CHECK(test.count("decisions") == 1000);
  CHECK(forget_old(60s) == 998);
  CHECK(test.count("decisions") == 2);  // the heuristic and the incomplete one
  CHECK(forget_old(60s) == 0);
  // trim() leaves decisions alone, however old.
  CHECK(await(test.io, log->trim(0s, never, never)).value() == 2);
}

TEST_CASE("forget_deletes_nothing_that_is_not_complete_and_skips_what_a_participant_is_away_for") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  test.decide_all(*log, gid, group_of({"a"}));
  test.decide_all(*log, next(gid), group_of({"b"}));
  const Gid dead = next(next(gid));
  REQUIRE(await(test.io, log->settle(owner_of(gid), dead)).ok());
  REQUIRE(await(test.io, log->complete(owner_of(gid), {gid})).value().empty());
  const auto old = await(test.io, log->complete_before(0s, {"payment"}, 10)).value();
  REQUIRE(old.size() == 1);
  CHECK(old[0].gid == gid);
  CHECK(old[0].participants == std::vector<std::string>{"inventory", "order"});
  CHECK(await(test.io, log->complete_before(0s, {"payment", "order"}, 10)).value().empty());
  REQUIRE(await(test.io, log->forget({gid, next(gid), dead})).ok());
  CHECK(await(test.io, log->decisions({gid, next(gid), dead})).value().size() == 2);
}

TEST_CASE("tombstone_outlives_its_epoch") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  REQUIRE(await(test.io, log->settle(owner_of(gid), gid)).value() == DecisionOutcome::abort);
  test.session()->exec_simple("UPDATE decisions SET decided_at = decided_at - interval '1 hour'");
  CHECK(await(test.io, log->trim(60s, never, never)).value() == 1);  // its epoch may still decide
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  CHECK(await(test.io, log->trim(60s, never, never)).value() == 0);
}

TEST_CASE("claim_looks_into_older_periods_by_index_whatever_their_size") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  test.session()->exec_simple(
      "INSERT INTO operations (period, scope, idempotency_key, fingerprint, kind, outcome, "
      "order_id, gid)"
      " SELECT 1, 's', 'key-' || n, sha256('x'), 'place', 'confirmed', gen_random_uuid(), 'g'"
      " FROM generate_series(1, 50000) n");
  REQUIRE(await(test.io, log->trim(never, 0s, never)).ok());
  Operations group;
  for (int i = 0; i < 128; ++i)
    group.push_back(operation("key-" + std::to_string(i * 350 + 1), "s"));

  const auto scans = [&](const char* kind) {
    return test.session()
        ->exec_simple(std::string("SELECT ") + kind +
                      " FROM pg_stat_user_tables WHERE relname = 'operations_1'")
        .at(0)
        .at(0)
        .as<std::int64_t>();
  };
  auto session = test.session();
  const auto whole_before = scans("seq_scan");
  const auto by_index_before = scans("idx_scan");
  const log_sql::ClaimResult claimed = log_sql::claim(*session, gid, group);
  log_sql::roll_back(*session);
  session->exec_simple("SELECT pg_stat_force_next_flush()");
  for (const protocol::Vote& vote : claimed.reply.votes) CHECK(vote.answer == Answer::duplicate);
  CHECK(scans("seq_scan") == whole_before);
  CHECK(scans("idx_scan") >= by_index_before + 128);
}
