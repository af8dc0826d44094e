// One group in the log: claims, decisions, refusals, duplicates; two coordinators on one log.
#include "log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

TEST_CASE("confirmed_group_is_decided_with_an_outcome_under_each_key") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  const Operations operations = group_of({"b", "a", "c"});

  const auto claimed = await(test.io, log->claim(gid, operations));
  REQUIRE(claimed.ok());
  for (const protocol::Vote& vote : claimed.value().votes) CHECK(vote.answer == Answer::yes);
  CHECK_FALSE(await(test.io, log->find_outcome(operations[0]->scope, "a")).value().has_value());
  REQUIRE(await(test.io, log->decide(gid, confirm_all(3))).ok());

  const auto stored = await(test.io, log->find_outcome(operations[0]->scope, "b")).value();
  REQUIRE(stored.has_value());
  CHECK(stored->confirmed);
  CHECK(stored->order_id == operations[0]->order_id);
  CHECK(stored->fingerprint == operations[0]->fingerprint);
  CHECK(stored->answer == operations[0]->answer);
  CHECK(stored->gid == protocol::format(gid));

  const auto open = await(test.io, log->incomplete_decisions(10)).value();
  REQUIRE(open.size() == 1);
  CHECK(open[0].gid == gid);
  CHECK(open[0].outcome == DecisionOutcome::commit);
  CHECK(open[0].participants == std::vector<std::string>{"inventory", "order"});
  CHECK(open[0].order_ids.size() == 3);
  CHECK_FALSE(open[0].complete);
}

TEST_CASE("refused_operation_is_recorded_and_a_dropped_one_leaves_no_row") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  const Operations operations = group_of({"confirmed", "refused", "dropped"});
  REQUIRE(await(test.io, log->claim(gid, operations)).ok());
  DecisionRecord record;
  record.participants = {"order"};
  record.confirmed = {0};
  record.refused = {{1, "OUT_OF_STOCK", "book-456"}};
  REQUIRE(await(test.io, log->decide(gid, record)).ok());

  const std::string scope = operations[0]->scope;
  const auto refused = await(test.io, log->find_outcome(scope, "refused")).value();
  REQUIRE(refused.has_value());
  CHECK_FALSE(refused->confirmed);
  CHECK(refused->reason == "OUT_OF_STOCK");
  CHECK(refused->detail == "book-456");
  CHECK_FALSE(await(test.io, log->find_outcome(scope, "dropped")).value().has_value());
  CHECK(await(test.io, log->incomplete_decisions(10)).value().at(0).order_ids ==
        std::vector<std::string>{operations[0]->order_id});

  // The dropped key was taken back: it can be claimed again.
  const auto again = await(test.io, log->claim(next(gid), group_of({"dropped"})));
  CHECK(again.value().votes[0].answer == Answer::yes);
}

TEST_CASE("group_without_survivors_records_its_refusals_and_no_decision") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  const Operations operations = group_of({"only"});
  REQUIRE(await(test.io, log->claim(gid, operations)).ok());
  DecisionRecord record;
  record.commit = false;
  record.refused = {{0, "UNKNOWN_SKU", ""}};
  REQUIRE(await(test.io, log->decide(gid, record)).ok());
  CHECK(test.count("decisions") == 0);
  const auto stored = await(test.io, log->find_outcome(operations[0]->scope, "only")).value();
  REQUIRE(stored.has_value());
  CHECK_FALSE(stored->confirmed);
  CHECK(stored->gid.empty());
}

TEST_CASE("decision_over_an_operation_that_was_not_claimed_is_refused_and_nothing_commits") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  test.decide_all(*log, gid, group_of({"taken"}));
  REQUIRE(await(test.io, log->claim(next(gid), group_of({"taken", "new"}))).ok());
  CHECK_FALSE(await(test.io, log->decide(next(gid), confirm_all(2))).ok());
  CHECK(test.count("operations") == 1);
  CHECK(test.count("decisions") == 1);
}

TEST_CASE("key_used_before_is_a_duplicate_with_what_is_stored_and_the_rest_goes_on") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  const Operations first = group_of({"used"});
  test.decide_all(*log, gid, first);

  const Operations second = group_of({"used", "fresh"});
  const auto claimed = await(test.io, log->claim(next(gid), second)).value();
  CHECK(claimed.votes[0].answer == Answer::duplicate);
  REQUIRE(claimed.stored[0].has_value());
  CHECK(claimed.stored[0]->order_id == first[0]->order_id);
  CHECK(claimed.votes[1].answer == Answer::yes);
  CHECK_FALSE(claimed.stored[1].has_value());
  DecisionRecord record;
  record.participants = {"order"};
  record.confirmed = {1};
  CHECK(await(test.io, log->decide(next(gid), record)).ok());
}

TEST_CASE("one_key_under_two_scopes_is_two_keys_and_twice_in_a_group_is_judged_later") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  const Operations operations{operation("k", "alice"), operation("k", "bob"),
                              operation("k", "bob")};
  const auto claimed = await(test.io, log->claim(gid, operations)).value();
  CHECK(claimed.votes[0].answer == Answer::yes);
  const int yes =
      (claimed.votes[1].answer == Answer::yes) + (claimed.votes[2].answer == Answer::yes);
  const int retry =
      (claimed.votes[1].answer == Answer::retry) + (claimed.votes[2].answer == Answer::retry);
  CHECK(yes == 1);
  CHECK(retry == 1);
}

TEST_CASE("released_claim_leaves_its_key_free") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  REQUIRE(await(test.io, log->claim(gid, group_of({"k"}))).ok());
  test.release(*log, gid);
  drive(test.io, 300ms);
  CHECK(await(test.io, log->claim(next(gid), group_of({"k"}))).value().votes[0].answer ==
        Answer::yes);
  // And a decision for what was released is refused without a word to the database.
  CHECK_FALSE(await(test.io, log->decide(gid, confirm_all(1))).ok());
}

TEST_CASE("key_that_another_coordinator_is_claiming_is_judged_later_and_holds_nobody_up") {
  LogTest test;
  auto one = test.make_log();
  auto two = test.make_log();
  const Gid gid_one = test.first_gid(*one, "c1");
  const Gid gid_two = test.first_gid(*two, "c2");
  const Operations first = group_of({"k"});
  REQUIRE(await(test.io, one->claim(gid_one, first)).ok());
  const auto beside = await(test.io, two->claim(gid_two, group_of({"k", "other"}))).value();
  CHECK(beside.votes[0].answer == Answer::retry);
  CHECK(beside.votes[0].busy == "log/k");
  CHECK(beside.votes[1].answer == Answer::yes);
  test.release(*two, gid_two);
  REQUIRE(await(test.io, one->decide(gid_one, confirm_all(1))).ok());
  const auto claimed = await(test.io, two->claim(next(gid_two), group_of({"k"})));
  REQUIRE(claimed.ok());
  CHECK(claimed.value().votes[0].answer == Answer::duplicate);
  REQUIRE(claimed.value().stored[0].has_value());
  CHECK(claimed.value().stored[0]->order_id == first[0]->order_id);
}

TEST_CASE("key_claimed_by_two_coordinators_second_gets_it_when_the_first_is_rolled_back") {
  LogTest test;
  auto one = test.make_log();
  auto two = test.make_log();
  const Gid gid_one = test.first_gid(*one, "c1");
  const Gid gid_two = test.first_gid(*two, "c2");
  REQUIRE(await(test.io, one->claim(gid_one, group_of({"k"}))).ok());
  CHECK(await(test.io, two->claim(gid_two, group_of({"k"}))).value().votes[0].answer ==
        Answer::retry);
  test.release(*two, gid_two);
  test.release(*one, gid_one);
  const auto claimed = await(test.io, two->claim(next(gid_two), group_of({"k"})));
  REQUIRE(claimed.ok());
  CHECK(claimed.value().votes[0].answer == Answer::yes);
}

TEST_CASE("claims_of_overlapping_keys_in_any_order_never_wait_and_no_key_is_had_by_both") {
  LogTest test;
  auto one = test.make_log();
  auto two = test.make_log();
  Gid gid_one = test.first_gid(*one, "c1");
  Gid gid_two = test.first_gid(*two, "c2");
  for (int round = 0; round < 20; ++round) {
    const std::string r = std::to_string(round);
    gid_one = next(gid_one);
    gid_two = next(gid_two);
    auto first = start(test.io, one->claim(gid_one, group_of({"a" + r, "b" + r, "c" + r})));
    auto second = start(test.io, two->claim(gid_two, group_of({"c" + r, "b" + r, "a" + r})));
    const auto by_one = finish(test.io, first), by_two = finish(test.io, second);
    REQUIRE(by_one.ok());
    REQUIRE(by_two.ok());
    for (std::size_t i = 0; i < 3; ++i) {
      const Answer mine = by_one.value().votes[i].answer,
                   other = by_two.value().votes[2 - i].answer;
      CHECK((mine == Answer::yes) != (other == Answer::yes));
      CHECK((mine == Answer::yes || mine == Answer::retry));
    }
    test.release(*one, gid_one);
    test.release(*two, gid_two);
  }
}

TEST_CASE("log_that_is_away_refuses_the_claim_at_once_and_takes_it_when_back") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  test.database.admin().exec_simple("ALTER DATABASE " + test.database.name() +
                                    " ALLOW_CONNECTIONS false");
  test.database.admin().exec_simple(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '" +
      test.database.name() + "'");
  const auto started = Clock::now();
  const auto refused = await(test.io, log->claim(gid, group_of({"k"})));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::unavailable);
  CHECK(since(started) < 1s);
  test.database.admin().exec_simple("ALTER DATABASE " + test.database.name() +
                                    " ALLOW_CONNECTIONS true");
  CHECK(await(test.io, log->claim(gid, group_of({"k"}))).ok());
}
