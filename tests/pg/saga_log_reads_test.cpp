// What is read of sagas, and what is forgotten when.
#include "saga_log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

namespace {

std::vector<std::string> ids_of(const Result<std::vector<SagaInstance>>& instances) {
  std::vector<std::string> ids;
  for (const SagaInstance& saga : instances.value()) ids.push_back(saga.saga_id);
  return ids;
}

SagaStart saga_of(const std::string& key, const std::string& order_id,
                  const std::string& correlation_id) {
  SagaStart saga = saga_on(key);
  auto operation = std::make_shared<Operation>(*saga.operation);
  operation->order_id = order_id;
  operation->correlation_id = correlation_id;
  saga.operation = operation;
  return saga;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("sagas_are_listed_newest_first_by_state_and_page_by_page") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  Ids ids;
  for (int i = 0; i < 6; ++i) ids.push_back(test.begin(owner, "k" + std::to_string(i)).saga_id);
  test.record(owner, completed(ids[1]));
  test.record(owner, failed(ids[2], "OUT_OF_STOCK", ""));
  SagaUpdate turned = state(ids[3], "COMPENSATION_STARTED", "order.create", 10);
  turned.reason = "CARD_DECLINED";
  test.record(owner, turned);
  test.record(owner, order_created(ids[4]));
  REQUIRE(await(test.io, test.sagas->note_trouble(owner, {{ids[3], 10, {}, "x", true}})).ok());

  const auto listed = [&](const char* state, std::size_t limit, const std::string& before) {
    return ids_of(await(test.io, test.sagas->list(state, limit, before)));
  };
  CHECK(listed("", 10, "") == Ids{ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]});
  CHECK(listed("", 2, "") == Ids{ids[5], ids[4]});
  CHECK(listed("", 2, ids[4]) == Ids{ids[3], ids[2]});
  CHECK(listed("running", 10, "") == Ids{ids[5], ids[4], ids[3], ids[0]});
  CHECK(listed("running", 10, ids[4]) == Ids{ids[3], ids[0]});
  CHECK(listed("stuck", 10, "") == Ids{ids[3]});
  CHECK(listed("COMPLETED", 10, "") == Ids{ids[1]});
  CHECK(listed("FAILED", 10, "") == Ids{ids[2]});
  CHECK(listed("COMPENSATION_STARTED", 10, "") == Ids{ids[3]});
  CHECK(listed("STARTED", 10, "") == Ids{ids[5], ids[0]});
  CHECK(listed("ORDER_CREATED", 10, "") == Ids{ids[4]});
  CHECK(listed("no such state", 10, "").empty());
}

TEST_CASE("sagas_of_an_order_are_found_oldest_first_and_orders_by_correlation_newest_first") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const std::string order = uuid_v7();
  const std::string newer = uuid_v7();
  const SagaStart placed = saga_of("place", order, "trace");
  test.begin(owner, {placed});
  test.begin(owner, {saga_of("other", newer, "trace"), saga_of("silent", uuid_v7(), "")});
  const SagaStart cancelled = saga_of("cancel", order, "trace");
  test.begin(owner, {cancelled});
  CHECK(ids_of(await(test.io, test.sagas->of_order(order))) ==
        Ids{placed.saga_id, cancelled.saga_id});
  CHECK(ids_of(await(test.io, test.sagas->of_order(uuid_v7()))).empty());
  CHECK(await(test.io, test.sagas->orders_of_correlation("trace")).value() == Ids{order, newer});
  CHECK(await(test.io, test.sagas->orders_of_correlation("unknown")).value().empty());
  CHECK(await(test.io, test.sagas->orders_of_correlation("")).value().empty());
  CHECK_FALSE(await(test.io, test.sagas->find(uuid_v7())).value().has_value());
}

TEST_CASE("orders_of_a_correlation_that_everybody_uses_are_the_newest_fifty") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  std::vector<SagaStart> starts;
  for (int i = 0; i < 120; ++i)
    starts.push_back(saga_of("k" + std::to_string(i), uuid_v7(), "all"));
  test.begin(owner, starts);
  const auto orders = await(test.io, test.sagas->orders_of_correlation("all")).value();
  REQUIRE(orders.size() == 50);
  CHECK(orders.front() == starts.back().operation->order_id);
  CHECK(orders.back() == starts[70].operation->order_id);
}

TEST_CASE("saga_is_forgotten_only_when_it_ended_long_ago_and_its_barriers_are_gone") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart running = test.begin(owner, "running");
  const SagaStart old = test.begin(owner, "old");
  const SagaStart fresh = test.begin(owner, "fresh");
  for (const SagaStart& saga : {old, fresh}) test.record(owner, completed(saga.saga_id));
  test.session()->exec_simple(
      "UPDATE saga_instances SET created_at = created_at - interval '1 hour',"
      " updated_at = updated_at - interval '1 hour', ended_at = ended_at - interval '1 hour'"
      " WHERE idempotency_key <> 'fresh'");

  CHECK(await(test.io, test.sagas->ended_before(owner, 60s, 10)).value() == Ids{old.saga_id});
  REQUIRE(await(test.io, test.sagas->trim(60s)).ok());
  CHECK(test.count("saga_instances") == 3);  // its barriers stand
  REQUIRE(await(test.io, test.sagas->barriers_trimmed({old.saga_id, running.saga_id})).ok());
  CHECK(await(test.io, test.sagas->ended_before(owner, 60s, 10)).value().empty());
  REQUIRE(await(test.io, test.sagas->trim(7200s)).ok());
  CHECK(test.count("saga_instances") == 3);
  REQUIRE(await(test.io, test.sagas->trim(60s)).ok());
  CHECK_FALSE(await(test.io, test.sagas->find(old.saga_id)).value().has_value());
  CHECK(test.history(old.saga_id).empty());
  CHECK(test.find(running.saga_id).status == "STARTED");
  CHECK(test.history(running.saga_id) == just_started);
  CHECK(test.history(fresh.saga_id).size() == 2);
  // What it came to is kept with its key.
  CHECK(test.outcome("old").value().confirmed);
}

TEST_CASE("trim_of_sagas_is_bounded_and_goes_on_in_the_next_call") {
  SagaLogTest test;
  const std::size_t bound = saga_sql::trim_sagas_max * saga_sql::trim_batches_max;
  test.session()->exec_simple(
      "INSERT INTO saga_instances (saga_id, saga_type, order_id, correlation_id, period, scope,"
      " idempotency_key, accepted, coordinator, epoch, status, current_step, payload, ended_at,"
      " barriers_trimmed)"
      " SELECT gen_random_uuid(), 't', gen_random_uuid(), '', 1, 's', n, false, 'c1', 1,"
      " 'COMPLETED', '', '', now() - interval '1 hour', true FROM generate_series(1, " +
      std::to_string(bound + 10) + ") n");
  REQUIRE(await(test.io, test.sagas->trim(60s)).ok());
  CHECK(test.count("saga_instances") == 10);
  REQUIRE(await(test.io, test.sagas->trim(60s)).ok());
  CHECK(test.count("saga_instances") == 0);
}

TEST_CASE("reads_go_by_index_whatever_has_ended_before") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  test.session()->exec_simple(
      "INSERT INTO saga_instances (saga_id, saga_type, order_id, correlation_id, period, scope,"
      " idempotency_key, accepted, coordinator, epoch, status, current_step, payload, ended_at,"
      " barriers_trimmed)"
      " SELECT gen_random_uuid(), 't', gen_random_uuid(), 'c' || n, 1, 's', n, false, 'c1', 1,"
      " 'COMPLETED', '', '', now(), true FROM generate_series(1, 50000) n;"
      "ANALYZE saga_instances");
  const SagaStart saga = test.begin(owner, "k");
  REQUIRE(await(test.io, test.log->raise_epoch("c1")).ok());
  const auto whole_reads = [&] {
    auto session = test.session();
    session->exec_simple("SELECT pg_stat_force_next_flush()");
    return test.text("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'saga_instances'");
  };
  auto session = test.session();
  const std::string before = whole_reads();
  const SagaOwner now{"c1", owner.epoch + 1};
  CHECK(saga_sql::owners(*session) == Ids{"c1"});
  CHECK(saga_sql::adopt(*session, now, 10).size() == 1);
  CHECK(saga_sql::record(*session, now, {order_created(saga.saga_id)}).empty());
  CHECK(saga_sql::of_order(*session, saga.operation->order_id).size() == 1);
  CHECK(saga_sql::list(*session, "running", 10, "").size() == 1);
  CHECK(saga_sql::list(*session, "stuck", 10, "").empty());
  CHECK(saga_sql::list(*session, "FAILED", 10, "").empty());
  CHECK(saga_sql::list(*session, "COMPLETED", 10, "").size() == 10);
  CHECK(saga_sql::list(*session, "", 10, saga.saga_id).size() <= 10);
  CHECK(saga_sql::orders_of_correlation(*session, "c7").size() == 1);
  CHECK(saga_sql::ended_before(*session, now, 0s, 10).empty());
  saga_sql::barriers_trimmed(*session, {saga.saga_id});
  saga_sql::trim(*session, 3600s);
  session->exec_simple("SELECT pg_stat_force_next_flush()");
  CHECK(whole_reads() == before);
}
