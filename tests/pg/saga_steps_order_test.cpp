// The order service's steps on a real server: an order is made PENDING, and ends once.
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <string>
#include <vector>

#include "participants/order/order.hpp"
#include "tests/pg/saga_steps_rig.hpp"
#include "tests/pg/shapes.hpp"

namespace txcoord {
namespace {

using test::Answer;
using test::await;
using test::barrier;
using test::operation_on;
using test::TestSaga;

struct Rig {
  test::ServiceDatabase database{"order"};
  boost::asio::io_context io;
  OrderParts parts =
      test::in_shape(io, make_order(io.get_executor(), test::settings_of(database), nullptr));
  test::StepDriver steps{io, *parts.participant};
  test::BranchDriver branch{io, *parts.participant};

  static TestSaga saga() {
    return test::saga_of(*test::place_order({{"a", 2, 100, ""}, {"b", 1, 50, ""}}));
  }
  StepReply create(const TestSaga& saga) {
    return steps.run_one("create", saga.call(OperationKind::create));
  }
  StepReply confirm(const TestSaga& saga) {
    return steps.run_one("confirm", saga.call(OperationKind::confirm));
  }
  StepReply fail(const TestSaga& saga, const std::string& reason = "OUT_OF_STOCK") {
    return steps.undo_one("fail", "create", saga.call(OperationKind::fail, reason));
  }
  OrderView order(const TestSaga& saga) {
    return await(io, parts.service->order(saga.operation->order_id)).value().value();
  }
  std::string status(const TestSaga& saga) {
    return database.value("SELECT status FROM orders WHERE order_id = '" +
                          saga.operation->order_id + "'");
  }
  std::string events() {
    return database.value("SELECT string_agg(type, ' ' ORDER BY event_id) FROM events");
  }
  std::vector<OrderFate> fail_pending(const std::vector<std::string>& ids) {
    return await(io, parts.service->fail_pending(ids, "RESERVATION_EXPIRED")).value();
  }
};

TEST_CASE("order steps: created PENDING, then confirmed: the same rows as a group's order",
          "[saga_steps][order]") {
  Rig rig;
  const TestSaga saga = rig.saga();
  for (int i = 0; i < 2; ++i) CHECK(rig.create(saga).status == StepStatus::done);
  const OrderView pending = rig.order(saga);
  CHECK(pending.status == "PENDING");
  CHECK(pending.mode == "saga");
  CHECK(pending.transaction_id == saga.id);
  CHECK(pending.total_amount == 250);
  CHECK(pending.created_at == saga.operation->created_at);
  CHECK(pending.correlation_id == "corr-1");
  REQUIRE(pending.items.size() == 2);
  for (int i = 0; i < 2; ++i) CHECK(rig.confirm(saga).status == StepStatus::done);
  const OrderView confirmed = rig.order(saga);
  CHECK(confirmed.status == "CONFIRMED");
  CHECK(confirmed.reason.empty());
  CHECK(rig.events() == "OrderCreated OrderConfirmed");
  CHECK(rig.database.value("SELECT count(DISTINCT at) FROM events") == "2");  // each at its time
  // By a group from here on: nothing tells it from any other order.
  rig.branch.committed({operation_on(saga.operation->order_id, OperationKind::ship)});
  rig.branch.committed({operation_on(saga.operation->order_id, OperationKind::deliver)});
  CHECK(rig.status(saga) == "DELIVERED");
}

TEST_CASE("order steps: a failed saga leaves its order FAILED with the reason",
          "[saga_steps][order][I8]") {
  Rig rig;
  const TestSaga saga = rig.saga();
  rig.create(saga);
  for (int i = 0; i < 2; ++i) CHECK(rig.fail(saga).status == StepStatus::done);
  const OrderView failed = rig.order(saga);
  CHECK(failed.status == "FAILED");
  CHECK(failed.reason == "OUT_OF_STOCK");
  CHECK(rig.events() == "OrderCreated OrderFailed");
  CHECK(rig.create(saga).status == StepStatus::done);  // the first try's answer
  CHECK(rig.status(saga) == "FAILED");
}

TEST_CASE(
    "order steps: an order that was never created is left FAILED, and a late create does "
    "nothing",
    "[saga_steps][order][I8]") {
  Rig rig;
  const TestSaga saga = rig.saga();
  for (int i = 0; i < 2; ++i) {
    CHECK(rig.fail(saga, "PARTICIPANT_UNAVAILABLE").status == StepStatus::done);
  }
  CHECK(rig.create(saga).status == StepStatus::barred);
  const OrderView failed = rig.order(saga);
  CHECK(failed.status == "FAILED");
  CHECK(failed.reason == "PARTICIPANT_UNAVAILABLE");
  CHECK(failed.transaction_id == saga.id);
  CHECK(failed.items.size() == 2);
  CHECK(rig.events() == "OrderFailed");
  CHECK(barrier(rig.database, saga, "create") == "skipped");
}

TEST_CASE("order steps: a confirmation that comes after the order failed is refused for its reason",
          "[saga_steps][order][I8][I10]") {
  Rig rig;
  const TestSaga saga = rig.saga();
  rig.create(saga);
  const auto fates = rig.fail_pending({saga.operation->order_id});
  REQUIRE(fates.size() == 1);
  CHECK(fates[0].status == "FAILED");
  for (int i = 0; i < 2; ++i) {
    const StepReply reply = rig.confirm(saga);
    CHECK(reply.status == StepStatus::refused);
    CHECK(reply.reason == "RESERVATION_EXPIRED");
  }
  CHECK(rig.fail(saga).status == StepStatus::done);  // failed already
  CHECK(rig.order(saga).reason == "RESERVATION_EXPIRED");
  CHECK(rig.events() == "OrderCreated OrderFailed");
}

TEST_CASE("order steps: an order that expired first tells its saga that reason, as often as asked",
          "[saga_steps][order][I10]") {
  Rig rig;
  const TestSaga expired = rig.saga(), own = rig.saga();
  for (const TestSaga& saga : {expired, own}) rig.create(saga);
  rig.fail_pending({expired.operation->order_id});
  for (int i = 0; i < 2; ++i) {
    const StepReply reply = rig.fail(expired, "CARD_DECLINED");
    CHECK(reply.status == StepStatus::done);
    CHECK(reply.reason == "RESERVATION_EXPIRED");
    CHECK(rig.fail(own, "CARD_DECLINED").reason.empty());
  }
  CHECK(rig.order(expired).reason == "RESERVATION_EXPIRED");
  CHECK(rig.order(own).reason == "CARD_DECLINED");
}

TEST_CASE("order steps: a confirmed order is not failed by its saga", "[saga_steps][order][I10]") {
  Rig rig;
  const TestSaga saga = rig.saga();
  rig.create(saga);
  rig.confirm(saga);
  const StepReply reply = rig.fail(saga);
  CHECK(reply.status == StepStatus::refused);
  CHECK(reply.reason == "ILLEGAL_STATE");
  CHECK(rig.status(saga) == "CONFIRMED");
}

TEST_CASE("order steps: a saga cancels a confirmed order once, and no other",
          "[saga_steps][order]") {
  Rig rig;
  const auto placed = test::place_order({{"a", 1, 100, ""}});
  rig.branch.committed({placed});
  const TestSaga open = rig.saga();
  rig.create(open);
  const TestSaga first = test::saga_of(*operation_on(placed->order_id, OperationKind::cancel)),
                 second = test::saga_of(*operation_on(placed->order_id, OperationKind::cancel)),
                 pending = test::saga_of(*open.operation),
                 nowhere = test::saga_of(*operation_on(uuid_v7(), OperationKind::cancel));
  StepRequest request{.step = "cancel"};
  for (const TestSaga& saga : {first, second, pending, nowhere})
    request.calls.push_back(saga.call(OperationKind::cancel));
  for (int i = 0; i < 2; ++i) {
    const auto replies = rig.steps.run(request);
    CHECK(replies[0].status == StepStatus::done);
    CHECK(replies[1].reason == "ILLEGAL_STATE");
    CHECK(replies[2].reason == "ILLEGAL_STATE");
    CHECK(replies[3].reason == "NOT_FOUND");
  }
  CHECK(rig.database.value("SELECT status FROM orders WHERE order_id = '" + placed->order_id +
                           "'") == "CANCELLED");
}

TEST_CASE("order steps: a batch holds new sagas, repeated ones and one that is barred",
          "[saga_steps][order]") {
  Rig rig;
  const TestSaga fresh = rig.saga(), repeated = rig.saga(), undone = rig.saga();
  rig.create(repeated);
  rig.fail(undone);
  StepRequest request{.step = "create"};
  for (const TestSaga& saga : {fresh, repeated, undone})
    request.calls.push_back(saga.call(OperationKind::create));
  const auto replies = rig.steps.run(request);
  CHECK(replies[0].status == StepStatus::done);
  CHECK(replies[1].status == StepStatus::done);
  CHECK(replies[2].status == StepStatus::barred);
  CHECK(rig.database.value("SELECT count(*) FROM orders WHERE status = 'PENDING'") == "2");
}

std::shared_ptr<Operation> accepted(const TestSaga& saga) {
  auto operation = std::make_shared<Operation>(*saga.operation);
  operation->kind = OperationKind::place;
  operation->accepted = true;
  return operation;
}

TEST_CASE("order: an accepted order is confirmed by the group that places it", "[order][I1]") {
  Rig rig;
  const TestSaga saga = rig.saga();
  rig.create(saga);
  const auto other = test::place_order({{"a", 1, 100, ""}});
  const auto gid = rig.branch.prepared({other, accepted(saga)});
  CHECK(rig.status(saga) == "PENDING");
  REQUIRE(rig.branch.commit(gid).ok());
  const OrderView order = rig.order(saga);
  CHECK(order.status == "CONFIRMED");
  CHECK(order.transaction_id == format(gid));
  CHECK(order.items.size() == 2);
  CHECK(rig.database.value("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'") == "2");
  CHECK(rig.events() == "OrderCreated OrderConfirmed OrderConfirmed");
  // Its saga was told something else by a lost answer, and may not take it back.
  CHECK(rig.fail(saga).reason == "ILLEGAL_STATE");
}

TEST_CASE("order: an accepted order that is not there yet waits, one that failed is refused",
          "[order][I9]") {
  Rig rig;
  const TestSaga missing = rig.saga(), failed = rig.saga();
  rig.create(failed);
  rig.fail(failed);
  const auto gid = rig.branch.next_gid();
  const auto votes = rig.branch.vote(gid, {accepted(missing), accepted(failed)});
  CHECK(votes[0].answer == Answer::retry);
  CHECK(votes[1].answer == Answer::no);
  CHECK(votes[1].reason == "ILLEGAL_STATE");
  CHECK(votes[1].final);
  rig.branch.release(gid);
}

TEST_CASE("order: failing pending orders tells what each is, and waits for none", "[order][I8]") {
  Rig rig;
  const TestSaga pending = rig.saga(), confirmed = rig.saga(), failed = rig.saga(),
                 held = rig.saga();
  for (const TestSaga& saga : {pending, confirmed, failed, held}) rig.create(saga);
  rig.confirm(confirmed);
  rig.fail(failed);
  auto blocker = test::connect(rig.database.dsn());
  blocker->exec_simple("BEGIN; SELECT 1 FROM orders WHERE order_id = '" + held.operation->order_id +
                       "' FOR NO KEY UPDATE");
  const std::string nowhere = uuid_v7();
  std::map<std::string, std::string> fates;
  for (const auto& [id, status] :
       rig.fail_pending({pending.operation->order_id, confirmed.operation->order_id,
                         failed.operation->order_id, held.operation->order_id, nowhere})) {
    fates[id] = status;
  }
  CHECK(fates == std::map<std::string, std::string>{{pending.operation->order_id, "FAILED"},
                                                    {confirmed.operation->order_id, "CONFIRMED"},
                                                    {failed.operation->order_id, "FAILED"},
                                                    {nowhere, ""}});
  CHECK(rig.order(pending).reason == "RESERVATION_EXPIRED");
  CHECK(rig.order(failed).reason == "OUT_OF_STOCK");  // the first reason stays
  blocker->exec_simple("ROLLBACK");
  CHECK(rig.status(held) == "PENDING");
  CHECK(rig.fail_pending({}).empty());
}

TEST_CASE("order: orders are found by correlation id, newest first", "[order]") {
  Rig rig;
  std::vector<std::string> expected;
  for (int i = 0; i < 3; ++i) {
    const auto placed = test::place_order({{"a", 1, 100, ""}});
    placed->correlation_id = i == 1 ? "other" : "mine";
    rig.branch.committed({placed});
    if (i != 1) expected.insert(expected.begin(), placed->order_id);
  }
  const auto cancel = operation_on(expected[0], OperationKind::cancel);
  cancel->correlation_id = "other";
  rig.branch.committed({cancel});
  CHECK(await(rig.io, rig.parts.service->orders_by_correlation("mine")).value() == expected);
  const auto others = await(rig.io, rig.parts.service->orders_by_correlation("other")).value();
  REQUIRE(others.size() == 2);
  CHECK(others[0] == expected[0]);  // placed under another id, cancelled under this one
  CHECK(await(rig.io, rig.parts.service->orders_by_correlation("none")).value().empty());
}

}  // namespace
}  // namespace txcoord
