// Epochs, leases and take-over between coordinators; completion and heuristic outcomes.
#include "log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

TEST_CASE("epoch_is_raised_at_each_start_and_the_installation_stays") {
  LogTest test;
  auto log = test.make_log();
  const std::string installation = await(test.io, log->installation()).value();
  CHECK(installation.size() == 8);
  CHECK(await(test.io, log->raise_epoch("c1")).value() == 1);
  CHECK(await(test.io, log->raise_epoch("c1")).value() == 2);
  CHECK(await(test.io, log->raise_epoch("c2")).value() == 1);
  CHECK(await(test.io, log->installation()).value() == installation);
  const auto coordinators = await(test.io, log->coordinators()).value();
  REQUIRE(coordinators.size() == 2);
  CHECK(coordinators.at("c1").epoch == 2);
  CHECK(coordinators.at("c1").renewals == 2);
  CHECK(coordinators.at("c1").lease_ms == test.settings.engine.lease_ms);
  CHECK_FALSE(coordinators.at("c1").ended);
}

TEST_CASE("epoch_is_raised_above_what_the_participants_know_when_the_log_went_back") {
  LogTest test;
  auto log = test.make_log();
  CHECK(await(test.io, log->raise_epoch("c1", 7)).value() == 8);
  CHECK(await(test.io, log->raise_epoch("c1", 3)).value() == 9);
  CHECK(await(test.io, log->raise_epoch("c1", 30)).value() == 31);
}

TEST_CASE("lease_is_renewed_at_once_while_deciders_hold_the_epoch_row") {
  LogTest test;
  auto log = test.make_log();
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  std::vector<std::unique_ptr<pg::Session>> deciders;
  for (int i = 0; i < 8; ++i) {
    deciders.push_back(test.session());
    deciders.back()->exec_simple(
        "BEGIN; SELECT 1 FROM coordinator_epoch WHERE id = 'c1' FOR SHARE");
  }
  REQUIRE(await(test.io, log->renew_lease("c1")).ok());  // connects
  const auto started = Clock::now();
  for (int i = 0; i < 20; ++i) REQUIRE(await(test.io, log->renew_lease("c1")).ok());
  CHECK(since(started) < 1s);
}

TEST_CASE("lease_is_renewed_while_every_other_session_of_the_log_waits") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  auto in_flight = test.session();
  in_flight->exec_simple(
      "BEGIN; INSERT INTO decisions (gid, coordinator, epoch, outcome) VALUES ('" +
      protocol::format(gid) + "', 'c1', 1, 'commit')");
  std::vector<std::shared_ptr<Running<Result<DecisionOutcome>>>> settling;
  for (int i = 0; i < 8; ++i) settling.push_back(start(test.io, log->settle(owner_of(gid), gid)));
  drive(test.io, 100ms);
  CHECK(await(test.io, log->renew_lease("c1")).ok());
  in_flight->exec_simple("COMMIT");
  for (const auto& one : settling) CHECK(finish(test.io, one).value() == DecisionOutcome::commit);
}

TEST_CASE("lease_of_a_coordinator_that_never_started_cannot_be_renewed") {
  LogTest test;
  auto log = test.make_log();
  CHECK_FALSE(await(test.io, log->renew_lease("c1")).ok());
}

TEST_CASE("renewal_reads_the_log_in_its_own_session_and_grows_what_an_adopter_watches") {
  LogTest test;
  auto log = test.make_log();
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  const auto first = await(test.io, log->renew_lease("c1")).value();
  const auto second = await(test.io, log->renew_lease("c1")).value();
  CHECK(first.log.system_identifier == await(test.io, log->identity()).value().system_identifier);
  const auto& before = first.coordinators.at("c1");
  const auto& after = second.coordinators.at("c1");
  CHECK(after.renewals == before.renewals + 1);
  CHECK(after.expires_at_us > before.expires_at_us);
  CHECK(after.epoch == before.epoch);
}

TEST_CASE("log_that_can_be_read_and_not_written_renews_nothing") {
  LogTest test;
  auto log = test.make_log();
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  const auto before = await(test.io, log->coordinators()).value();
  const std::string database =
      test.session()->exec_simple("SELECT current_database()").at(0).at(0).as<std::string>();
  test.session()->exec_simple("ALTER DATABASE " + database +
                              " SET default_transaction_read_only = on");
  auto another = test.make_log();  // its sessions connect from now on
  CHECK(await(test.io, another->coordinators()).ok());
  CHECK_FALSE(await(test.io, another->renew_lease("c1")).ok());
  CHECK(await(test.io, log->coordinators()).value() == before);
}

TEST_CASE("take_over_is_refused_to_whoever_saw_the_lease_before_a_renewal") {
  LogTest test;
  auto one = test.make_log();
  auto two = test.make_log();
  const Gid gid = test.first_gid(*one, "c1");
  REQUIRE(await(test.io, two->raise_epoch("c2")).ok());
  REQUIRE(await(test.io, one->claim(gid, group_of({"k"}))).ok());
  const auto seen = test.claims(*two, {"c1"});

  REQUIRE(await(test.io, one->renew_lease("c1")).ok());
  CHECK(await(test.io, two->take_over(seen)).value().empty());
  CHECK(await(test.io, two->coordinators()).value().at("c1").epoch == gid.epoch);

  CHECK(test.take_over(*two, {"c1"}) == std::vector<std::string>{"c1"});
  // I11: the old coordinator comes back and decides.
  const auto late = await(test.io, one->decide(gid, confirm_all(1)));
  REQUIRE_FALSE(late.ok());
  CHECK(late.failure().kind == FailureKind::fenced);
  CHECK(test.count("decisions") == 0);
}

TEST_CASE("take_over_is_refused_on_anything_that_changed_since_it_was_seen") {
  LogTest test;
  auto log = test.make_log();
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  auto seen = test.claims(*log, {"c1"});
  SECTION("an older coordinator renewed: expires_at alone") {
    test.session()->exec_simple(
        "UPDATE coordinator_lease SET expires_at = expires_at + interval '1 microsecond'");
  }
  SECTION("renewed while the log's clock stood still: renewals alone") {
    test.session()->exec_simple("UPDATE coordinator_lease SET renewals = renewals + 1");
  }
  SECTION("an older adopter took it over: the epoch alone") {
    test.session()->exec_simple("UPDATE coordinator_epoch SET epoch = epoch + 1");
  }
  SECTION("given back and taken again, on the same microsecond of a clock that was set back") {
    const std::string expires_at =
        test.session()
            ->exec_simple("SELECT expires_at::text FROM coordinator_lease")
            .at(0)
            .at(0)
            .as<std::string>();
    REQUIRE(await(test.io, log->end_lease("c1")).ok());
    REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
    test.session()->exec_simple("UPDATE coordinator_lease SET expires_at = '" + expires_at + "'");
    test.session()->exec_simple("UPDATE coordinator_epoch SET epoch = 1");
  }
  SECTION("it was seen in another log") { seen[0].log.system_identifier = "1"; }
  SECTION("it was seen on another timeline") { ++seen[0].log.timeline; }
  const auto before = await(test.io, log->coordinators()).value();
  CHECK(await(test.io, log->take_over(seen)).value().empty());
  CHECK(await(test.io, log->coordinators()).value() == before);
}

TEST_CASE("of_two_adopters_that_saw_the_same_lease_one_takes_it_over") {
  LogTest test;
  auto one = test.make_log();
  auto two = test.make_log();
  REQUIRE(await(test.io, one->raise_epoch("c1")).ok());
  const auto seen = test.claims(*one, {"c1"});
  const auto first = start(test.io, one->take_over(seen));
  const auto second = start(test.io, two->take_over(seen));
  CHECK(finish(test.io, first).value().size() + finish(test.io, second).value().size() == 1);
  CHECK(await(test.io, one->coordinators()).value().at("c1").epoch == 2);
}

TEST_CASE("lease_given_up_at_shutdown_says_so_until_anybody_starts_on_it") {
  LogTest test;
  auto log = test.make_log();
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  REQUIRE(await(test.io, log->end_lease("c1")).ok());
  CHECK(await(test.io, log->coordinators()).value().at("c1").ended);
  // Older adopters judge by this alone.
  CHECK(test.count("coordinator_lease WHERE expires_at <= clock_timestamp()") == 1);
  SECTION("a start") { REQUIRE(await(test.io, log->raise_epoch("c1")).ok()); }
  SECTION("a renewal") { REQUIRE(await(test.io, log->renew_lease("c1")).ok()); }
  SECTION("a start of an older program, which knows expires_at alone") {
    test.session()->exec_simple(
        "UPDATE coordinator_lease SET expires_at = clock_timestamp() + interval '5 s'");
  }
  CHECK_FALSE(await(test.io, log->coordinators()).value().at("c1").ended);
}

TEST_CASE("renewal_under_way_wins_over_the_take_over_that_waits_for_it") {
  LogTest test;
  auto log = test.make_log();
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  REQUIRE(await(test.io, log->end_lease("c1")).ok());
  const auto seen = test.claims(*log, {"c1"});
  auto renewal = test.session();
  renewal->exec_simple(
      "BEGIN; UPDATE coordinator_lease SET expires_at = clock_timestamp() + interval '1 min'"
      " WHERE id = 'c1'");
  auto taking = start(test.io, log->take_over(seen));
  drive(test.io, 200ms);
  CHECK_FALSE(taking->done());
  renewal->exec_simple("COMMIT");
  CHECK(finish(test.io, taking).value().empty());
  CHECK(await(test.io, log->coordinators()).value().at("c1").epoch == 1);
}

TEST_CASE("suspect_with_a_decision_in_flight_does_not_keep_the_other_from_being_taken_over") {
  LogTest test;
  test.settings.engine.decide_ms_max = 100;
  test.settings.log.lock_ms_max = 100;
  auto log = test.make_log();
  for (const char* name : {"c1", "c2"}) {
    REQUIRE(await(test.io, log->raise_epoch(name)).ok());
    REQUIRE(await(test.io, log->end_lease(name)).ok());
  }
  auto decider = test.session();
  decider->exec_simple("BEGIN; SELECT 1 FROM coordinator_epoch WHERE id = 'c1' FOR SHARE");
  CHECK(test.take_over(*log, {"c1", "c2"}) == std::vector<std::string>{"c2"});
  decider->exec_simple("COMMIT");
  CHECK(test.take_over(*log, {"c1"}) == std::vector<std::string>{"c1"});
}

TEST_CASE("decision_is_unapplied_until_it_is_complete_and_listed_by_its_state") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  const Operations first = group_of({"a", "b"});
  test.decide_all(*log, gid, first);
  test.decide_all(*log, next(gid), group_of({"c"}));
  const Gid dead = next(next(gid));
  REQUIRE(await(test.io, log->settle(owner_of(dead), dead)).value() == DecisionOutcome::abort);

  CHECK(await(test.io, log->unapplied(first[1]->order_id)).value() == std::vector<Gid>{gid});
  const auto outcomes = await(test.io, log->unapplied_outcomes(first[1]->order_id)).value();
  REQUIRE(outcomes.size() == 1);
  CHECK(outcomes[0].answer == first[1]->answer);
  CHECK(await(test.io, log->incomplete_decisions(1)).value().at(0).gid == gid);  // the oldest

  REQUIRE(await(test.io, log->complete(owner_of(gid), {gid})).ok());
  CHECK(await(test.io, log->unapplied(first[1]->order_id)).value().empty());
  CHECK(await(test.io, log->unapplied_outcomes(first[1]->order_id)).value().empty());
  const auto among = await(test.io, log->decisions({gid, dead, next(dead)})).value();
  CHECK(among.size() == 2);

  REQUIRE(await(test.io,
                log->record_heuristic(owner_of(gid), next(gid), "payment", "prepared state lost"))
              .ok());
  const auto listed = [&](const char* state) {
    std::vector<Gid> gids;
    const auto found = await(test.io, log->list_decisions(state, 10));
    for (const Decision& one : found.value()) gids.push_back(one.gid);
    return gids;
  };
  CHECK(listed("completed") == std::vector<Gid>{gid});
  CHECK(listed("heuristic") == std::vector<Gid>{next(gid)});
  CHECK(listed("aborted") == std::vector<Gid>{dead});
  CHECK(listed("committing").empty());
  CHECK(listed("") == std::vector<Gid>{dead, next(gid), gid});
  CHECK(listed("no such state").empty());
}

TEST_CASE("completion_under_a_tombstone_is_told_and_never_taken_for_done") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  test.decide_all(*log, gid, group_of({"a"}));
  REQUIRE(await(test.io, log->settle(owner_of(gid), next(gid))).value() == DecisionOutcome::abort);
  CHECK(await(test.io, log->complete(owner_of(gid), {gid, next(gid)})).value() ==
        std::vector<Gid>{next(gid)});
  CHECK(await(test.io, log->decisions({gid})).value().at(0).complete);
  REQUIRE(
      await(test.io, log->record_heuristic(owner_of(gid), next(gid), "order", "committed")).ok());
  const auto shown = await(test.io, log->list_decisions("heuristic", 10)).value();
  REQUIRE(shown.size() == 1);
  CHECK(shown[0].gid == next(gid));
  CHECK(shown[0].outcome == DecisionOutcome::abort);
}

TEST_CASE("open_heuristic_outcomes_are_counted_by_participant_until_somebody_mends_them") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  const Gid other = next(gid);
  test.decide_all(*log, gid, group_of({"a"}));
  test.decide_all(*log, other, group_of({"b"}));
  const auto record = [&](const Gid& which, const char* participant) {
    REQUIRE(await(test.io, log->record_heuristic(owner_of(gid), which, participant, "lost")).ok());
  };
  record(gid, "payment");
  record(other, "payment");
  record(other, "shipping");
  using Open = std::map<std::string, std::size_t>;
  // Another process, or this one after a restart: the log says the same.
  auto after_a_restart = test.make_log();
  const auto open = [&] { return await(test.io, after_a_restart->open_heuristics()).value(); };
  CHECK(open() == Open{{"payment", 2}, {"shipping", 1}});

  // A person: kept with the first note; what is found lost again is open again.
  REQUIRE(await(test.io, log->resolve_heuristic(other, {"payment"}, "written again")).ok());
  REQUIRE(await(test.io, log->resolve_heuristic(other, {"payment"}, "said twice")).ok());
  CHECK(open() == Open{{"payment", 1}, {"shipping", 1}});
  const auto known = await(test.io, log->heuristic_outcomes({other})).value();
  REQUIRE(known.size() == 2);
  CHECK(known[0].participant == "payment");
  CHECK(known[0].resolved_at);
  CHECK(known[0].by_person);
  CHECK(known[0].note == "written again");
  CHECK_FALSE(known[1].resolved_at);
  record(other, "payment");
  CHECK(open() == Open{{"payment", 2}, {"shipping", 1}});

  // Recovery: it found every branch, so nobody has to say so.
  REQUIRE(await(test.io, log->complete(owner_of(gid), {gid})).ok());
  CHECK(open() == Open{{"payment", 1}, {"shipping", 1}});
  const auto by_itself = await(test.io, log->heuristic_outcomes({gid})).value();
  REQUIRE(by_itself.size() == 1);
  CHECK(by_itself[0].resolved_at);
  CHECK_FALSE(by_itself[0].by_person);
  const auto listed = await(test.io, log->list_decisions("heuristic_open", 10)).value();
  REQUIRE(listed.size() == 1);
  CHECK(listed[0].gid == other);
}

TEST_CASE("identity_of_the_log_moves_forward_and_stays_the_same_server") {
  LogTest test;
  auto log = test.make_log();
  const LogIdentity before = await(test.io, log->identity()).value();
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  const LogIdentity after = await(test.io, log->identity()).value();
  CHECK_FALSE(before.system_identifier.empty());
  CHECK(before.system_identifier == after.system_identifier);
  CHECK(before.timeline == 1);
  CHECK(after.lsn > before.lsn);
}
