// The audit's rules of sagas and accepted orders (I8, and I1, I5, I10 where sagas are in them): a
// clean world gives nothing, every planted fault is named.
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "tests/pg/audit_saga_world.hpp"

namespace txcoord::audit {
namespace {

void without_sums(Found& found) {  // the same faults, as sums
  std::erase_if(found, [](const auto& each) { return std::get<0>(each) == "I6"; });
}

std::string of(const std::string& id) { return " WHERE order_id = '" + id + "'"; }
std::string of_saga(const std::string& id) { return " WHERE saga_id = '" + id + "'"; }

TEST_CASE("audit: a clean world of sagas gives no violation, with trimming on or off",
          "[audit][I8]") {
  SagaWorld world;
  world.completed();
  world.failed();
  world.cancel_by_saga(world.order_of(world.completed()));
  world.cancel_by_saga(world.place());
  world.cancel(world.order_of(world.completed()));
  world.ship(world.order_of(world.completed()));
  world.cancel(world.accepted());
  world.accepted();
  const std::string stuck = world.begun(3), running = world.begun(2);
  world.log.run("UPDATE saga_instances SET stuck_since = now()" + of_saga(stuck) +
                ";UPDATE saga_instances SET next_retry_at = now() + interval '1 hour'" +
                of_saga(running));
  std::this_thread::sleep_for(world.targets().saga_silence_max);
  AuditTargets targets = world.targets();
  const AuditReport report = audit(targets);
  CHECK(to_text(report).find("no violation") != std::string::npos);
  CHECK(report.sagas == 11);
  CHECK(report.sagas_stuck == std::vector{stuck});
  CHECK(report.sagas_running == std::vector{running});
  CHECK(to_text(report).find("need a person: " + stuck) != std::string::npos);

  // What ended long ago has lost its barriers, or some of them.
  targets.trimming = true;
  targets.barriers_keep = 60s;
  world.log.run(
      "UPDATE saga_instances SET ended_at = now() - interval '2 minutes'"
      " WHERE ended_at IS NOT NULL");
  world.payment.run("DELETE FROM txc_saga_steps WHERE saga_id <> '" + stuck + "'");
  CHECK(found_by(targets).empty());
  world.log.run("DELETE FROM saga_instances WHERE ended_at IS NOT NULL");
  CHECK(found_by(targets).empty());
}

TEST_CASE("audit: a saga that is not whole, or not undone, is named", "[audit][I1][I2][I8]") {
  SagaWorld world;
  Found expected;
  const auto plant = [&](const char* check, const std::string& id, ServiceDatabase& where,
                         const std::string& sql) {
    where.run(sql + of(id));
    expected.emplace("I1", check, id);
  };
  plant("payment_missing", world.order_of(world.completed()), world.payment,
        "DELETE FROM payments");
  plant("reservation_missing", world.order_of(world.completed()), world.inventory,
        "DELETE FROM reservations");
  plant("shipment_missing", world.order_of(world.completed()), world.shipping,
        "DELETE FROM shipments");
  plant("statuses_disagree", world.order_of(world.failed()), world.inventory,
        "UPDATE reservations SET status = 'RESERVED'");
  const std::string kept = world.order_of(world.completed());
  world.cancel_by_saga(kept);
  plant("statuses_disagree", kept, world.payment, "UPDATE payments SET status = 'CAPTURED'");

  const std::string pending = world.order_of(world.completed());
  world.order.run("UPDATE orders SET status = 'PENDING'" + of(pending));
  expected.emplace("I8", "saga_and_order_disagree", pending);
  const std::string uncancelled = world.order_of(world.completed());
  world.cancel_by_saga(uncancelled);
  plant("statuses_disagree", uncancelled, world.order, "UPDATE orders SET status = 'CONFIRMED'");
  expected.emplace("I8", "saga_and_order_disagree", uncancelled);
  expected.emplace("I2", "answer_lost", uncancelled);
  const std::string unfailed = world.order_of(world.failed());
  world.order.run("UPDATE orders SET status = 'CANCELLED'" + of(unfailed));
  expected.emplace("I8", "saga_and_order_disagree", unfailed);
  expected.emplace("I10", "refused_but_present", unfailed);

  Found found = found_by(world.targets());
  without_sums(found);
  CHECK(found == expected);
}

TEST_CASE("audit: a failed order tells its saga's reason, or that its reservation expired",
          "[audit][I10]") {
  SagaWorld world;
  const std::string other = world.order_of(world.failed()), late = world.order_of(world.failed());
  world.order.run("UPDATE orders SET reason = 'OUT_OF_STOCK'" + of(other) +
                  ";UPDATE orders SET reason = 'RESERVATION_EXPIRED'" + of(late));
  CHECK(found_by(world.targets()) == Found{{"I10", "reasons_differ", other}});
}

TEST_CASE("audit: a pending order whose saga is gone is named", "[audit][I8][I10]") {
  SagaWorld world;
  const std::string saga = world.begun(1), id = world.order_of(saga);
  world.log.run("DELETE FROM saga_instances");
  CHECK(found_by(world.targets()) == Found{{"I8", "barrier_without_saga", saga},
                                           {"I8", "pending_without_saga", id},
                                           {"I10", "pending_without_saga", id}});
}

TEST_CASE("audit: a log that lost sagas is found out by what the services hold", "[audit][I8]") {
  SagaWorld world;
  const std::string paid = world.begun(3), failed = world.begun(3), whole = world.completed();
  const std::string cancelled = world.start("cancel_order", world.order_of(world.completed()));
  world.run_step(cancelled, "order.cancel");
  const std::string undone = world.failed();
  world.order.run("UPDATE orders SET status = 'FAILED', reason = 'RESERVATION_EXPIRED'" +
                  of(world.order_of(failed)));
  // As an older log would be: none of them, and no key of theirs.
  world.log.run("DELETE FROM saga_instances; DELETE FROM saga_history; DELETE FROM operations");
  const auto order_of = [&](const std::string& saga) { return world.order_of(saga); };
  CHECK(found_by(world.targets()) == Found{{"I8", "barrier_without_saga", paid},
                                           {"I8", "pending_without_saga", order_of(paid)},
                                           {"I8", "barrier_without_saga", failed},
                                           {"I1", "statuses_disagree", order_of(failed)},
                                           {"I8", "barrier_without_saga", cancelled},
                                           {"I1", "statuses_disagree", order_of(cancelled)}});

  // Shown as needing a person, each with what is at risk.
  for (const std::string& saga : {paid, failed, cancelled})
    world.log.run(
        "INSERT INTO lost_sagas (saga_id, saga_type, order_id, order_status, customer_id,"
        " money_taken, may_compensate, may_complete) VALUES ('" +
        saga + "', 'place_order', '" + order_of(saga) + "', 'PENDING', 'anna', 1070, true, false)");
  const AuditReport report = audit(world.targets());
  CHECK(report.clean());
  CHECK(report.sagas_lost_total == 3);
  CHECK(to_text(report).find(paid + ": order " + order_of(paid) +
                             ": order PENDING; 1070 taken from anna") != std::string::npos);
}

TEST_CASE("audit: an open saga is worked on, or shown as stuck, or named", "[audit][I8]") {
  SagaWorld world;
  const std::string id = world.order_of(world.begun(2));
  AuditTargets patient = world.targets();
  patient.saga_silence_max = 1min;
  CHECK(found_by(patient).empty());
  std::this_thread::sleep_for(world.targets().saga_silence_max);
  CHECK(found_by(world.targets()) == Found{{"I8", "saga_abandoned", id}});
  world.log.run("INSERT INTO coordinator_lease VALUES ('c1', now() + interval '1 hour')");
  CHECK(found_by(world.targets()) == Found{{"I8", "saga_silent", id}});
  world.log.run("UPDATE coordinator_epoch SET epoch = 3");  // fenced, and adopted by nobody
  CHECK(found_by(world.targets()) == Found{{"I8", "saga_abandoned", id}});
  world.log.run("UPDATE saga_instances SET next_retry_at = now() + interval '1 hour'");
  CHECK(found_by(world.targets()).empty());
  world.log.run("UPDATE saga_instances SET next_retry_at = NULL, stuck_since = now()");
  CHECK(found_by(world.targets()).empty());
}

TEST_CASE("audit: a silent saga that moves before our eyes is not named", "[audit][I8]") {
  SagaWorld world;
  const std::string id = world.begun(1);
  std::this_thread::sleep_for(world.targets().saga_silence_max);
  std::atomic<bool> stop = false;
  std::thread worker([&] {  // a step that is tried again: nothing is recorded, only the tries
    while (!stop) world.log.run("UPDATE saga_instances SET attempts = attempts + 1");
  });
  AuditTargets targets = world.targets();
  targets.patience = 1s;
  const AuditReport report = audit(targets);
  stop = true;
  worker.join();
  CHECK(report.clean());
}

TEST_CASE("audit: what the log says of a saga in three places agrees", "[audit][I8][I10]") {
  SagaWorld world;
  Found expected;
  const std::string moved = world.completed();
  world.log.run("UPDATE saga_instances SET status = 'STOCK_RESERVED'" + of_saga(moved));
  expected.emplace("I8", "ended_otherwise", moved);
  expected.emplace("I8", "history_differs", moved);
  expected.emplace("I10", "key_disagrees", moved);
  expected.emplace("I8", "saga_and_order_disagree", world.order_of(moved));
  const std::string forgotten = world.completed();
  world.log.run("DELETE FROM saga_history" + of_saga(forgotten) + " AND n = 5");
  expected.emplace("I8", "history_differs", forgotten);
  const std::string reason = world.failed();
  world.log.run("UPDATE operations SET reason = 'OUT_OF_STOCK' WHERE gid = '" + reason + "'");
  expected.emplace("I10", "key_disagrees", reason);
  const std::string pending = world.completed();
  world.log.run("UPDATE operations SET outcome = 'pending' WHERE gid = '" + pending + "'");
  expected.emplace("I10", "key_disagrees", pending);
  expected.emplace("I10", "pending_without_saga", world.order_of(pending));
  CHECK(found_by(world.targets()) == expected);
}

TEST_CASE("audit: a barrier that is behind its saga, or ahead of it, is named", "[audit][I8]") {
  SagaWorld world;
  Found expected;
  const auto plant = [&](const char* check, const std::string& saga, ServiceDatabase& where,
                         const std::string& sql) {
    where.run(sql);
    expected.emplace("I8", check, saga);
  };
  const std::string whole = world.completed(), half = world.begun(3), failed = world.failed(),
                    early = world.begun(1), undone = world.begun(2);
  plant("step_not_done", whole, world.payment, "DELETE FROM txc_saga_steps" + of_saga(whole));
  plant("step_not_done", half, world.inventory, "DELETE FROM txc_saga_steps" + of_saga(half));
  plant("not_compensated", failed, world.inventory,
        "DELETE FROM txc_saga_steps" + of_saga(failed) + " AND step = 'release'");
  plant("step_ahead", early, world.payment,
        "INSERT INTO txc_saga_steps VALUES ('" + early + "', 'charge', 'done')");
  plant("step_ahead", undone, world.inventory,
        "INSERT INTO txc_saga_steps VALUES ('" + undone + "', 'release', 'done')");
  // Done and not recorded yet is no fault; nor is what another installation's saga left.
  world.run_step(world.start("place_order", uuid_v7()), "order.create");
  world.shipping.run(
      "INSERT INTO txc_saga_steps VALUES (gen_random_uuid(), 'arrange', 'done');"
      "INSERT INTO txc_log_seen (installation, system_identifier, timeline, lsn)"
      " VALUES ('ffffffff', '1', 1, 1)");
  AuditTargets targets = world.targets();
  targets.saga_silence_max = 1min;
  CHECK(found_by(targets) == expected);
}

TEST_CASE("audit: what is due is on its way; what was revoked is whole, and nothing else is",
          "[audit][I1][I8][I10]") {
  SagaWorld world;
  const std::string due = world.due(), revoked = world.revoked(),
                    paid = world.forward(world.start("place_order_pay_later", uuid_v7()), 5);
  AuditTargets patient = world.targets();
  patient.saga_silence_max = 1min;
  CHECK(found_by(patient).empty());
  Found expected;
  world.log.run("UPDATE operations SET outcome = 'refused', reason = 'CARD_DECLINED'" +
                of(world.order_of(revoked)));
  expected.emplace("I10", "key_disagrees", revoked);
  expected.emplace("I10", "refused_but_present", world.order_of(revoked));
  world.log.run("UPDATE operations SET outcome = 'pending'" + of(world.order_of(due)));
  expected.emplace("I10", "key_disagrees", due);
  world.payment.run("DELETE FROM payments" + of(world.order_of(paid)) +
                    ";UPDATE wallets SET balance = balance + 1070 WHERE customer_id = 'anna'");
  expected.emplace("I1", "payment_missing", world.order_of(paid));
  const std::string held = world.revoked();
  world.shipping.run("UPDATE shipments SET status = 'ARRANGED'" + of(world.order_of(held)));
  expected.emplace("I1", "statuses_disagree", world.order_of(held));
  CHECK(found_by(patient) == expected);
}

TEST_CASE("audit: both halves of an accepted order agree, and it counts once", "[audit][I5][I10]") {
  SagaWorld world;
  const std::string other = world.accepted(), refused = world.accepted(), twice = world.accepted();
  world.order.run("UPDATE orders SET transaction_id = 'txc_other'" + of(other));
  world.log.run("UPDATE operations SET outcome = 'refused'" + of(refused) +
                " AND scope = 'accepted'");
  world.log.run(world.logged(twice, "place", "confirmed", world.last_gid()));
  Found found = found_by(world.targets());
  std::erase_if(found,
                [](const auto& each) { return std::get<1>(each) == "decision_without_answer"; });
  CHECK(found == Found{{"I5", "placed_by_another", other},
                       {"I10", "accepted_differently", refused},
                       {"I5", "placed_twice", twice}});
}

TEST_CASE("audit: sagas that move between the snapshots are not taken for a violation",
          "[audit][I8]") {
  SagaWorld world;
  std::atomic<bool> stop = false;
  std::thread mover([&] {
    while (!stop) {
      world.cancel_by_saga(world.order_of(world.completed()));
      world.failed();
      world.accepted();
    }
  });
  AuditTargets targets = world.targets();
  targets.saga_silence_max = 5s;
  for (int i = 0; i < 8; ++i) {
    const AuditReport report = audit(targets);
    if (!report.clean()) FAIL_CHECK(to_text(report));
    CHECK(report.unsettled == 0);
  }
  stop = true;
  mover.join();
  CHECK(found_by(world.targets()).empty());
}

}  // namespace
}  // namespace txcoord::audit
