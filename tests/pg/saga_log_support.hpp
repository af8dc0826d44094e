// What the tests of the sagas' log share: owners, starts, states of the plan that places an order.
#pragma once

#include <set>

#include "log_support.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/log/pg_saga_log.hpp"
#include "txcoord/log/pg_saga_log_sql.hpp"

namespace txcoord::test {

inline SagaStart saga_on(const std::string& key) {
  SagaStart saga;
  saga.saga_id = uuid_v7();
  saga.type = "place_order";
  saga.current_step = "order.create";
  saga.payload = R"({"for":")" + key + R"("})";
  saga.operation = operation(key);
  return saga;
}

inline std::vector<SagaStart> sagas_on(const std::string& prefix, int count) {
  std::vector<SagaStart> sagas;
  for (int i = 0; i < count; ++i) sagas.push_back(saga_on(prefix + std::to_string(i)));
  return sagas;
}

inline SagaUpdate state(const std::string& saga_id, const std::string& status,
                        const std::string& step, std::uint32_t progress) {
  SagaUpdate update;
  update.saga_id = saga_id;
  update.status = status;
  update.current_step = step;
  update.progress = progress;
  return update;
}
inline SagaUpdate order_created(const std::string& saga_id) {
  return state(saga_id, "ORDER_CREATED", "inventory.reserve", 1);
}
inline SagaUpdate stock_reserved(const std::string& saga_id) {
  return state(saga_id, "STOCK_RESERVED", "payment.charge", 2);
}
inline SagaUpdate completed(const std::string& saga_id) {
  SagaUpdate update = state(saga_id, "COMPLETED", "", 5);
  update.ended = update.confirmed = true;
  return update;
}
inline SagaUpdate failed(const std::string& saga_id, const std::string& reason,
                         const std::string& detail) {
  SagaUpdate update = state(saga_id, "FAILED", "", 11);
  update.ended = true;
  update.reason = reason;
  update.detail = detail;
  return update;
}

class SagaLogTest : public LogTest {
 public:
  SagaLogTest() : log(make_log()), sagas(make_saga_log()) {}

  std::unique_ptr<SagaLog> make_saga_log() {
    return make_pg_saga_log(io.get_executor(), settings, nullptr);
  }
  // Raises the coordinator's epoch: its earlier ones are fenced.
  SagaOwner owner(const std::string& coordinator) {
    return {coordinator, await(io, log->raise_epoch(coordinator)).value()};
  }
  // What was started goes on until it waits for a database: before waiting for the database.
  void hand_over() {
    io.restart();
    io.poll();
  }
  void begin(const SagaOwner& owner, const std::vector<SagaStart>& starts) {
    const auto replies = await(io, sagas->start(owner, starts));
    for (const SagaStartReply& reply : replies.value())
      if (!reply.started) throw std::runtime_error("not started");
  }
  SagaStart begin(const SagaOwner& owner, const std::string& key) {
    SagaStart saga = saga_on(key);
    begin(owner, std::vector{saga});
    return saga;
  }
  void record(const SagaOwner& owner, const SagaUpdate& update) {
    if (!await(io, sagas->record(owner, {update})).value().empty())
      throw std::runtime_error("not recorded");
  }
  // "STATUS step" of each state, in order.
  std::vector<std::string> history(const std::string& saga_id) {
    std::vector<std::string> states;
    const auto found = await(io, sagas->history(saga_id));
    for (const SagaHistoryEntry& entry : found.value())
      states.push_back(entry.status + " " + entry.step);
    return states;
  }
  SagaInstance find(const std::string& saga_id) {
    return await(io, sagas->find(saga_id)).value().value();
  }
  std::optional<StoredOutcome> outcome(const std::string& key) {
    return await(io, log->find_outcome(operation(key)->scope, key)).value();
  }
  std::string text(const std::string& sql) {
    return session()->exec_simple(sql).at(0).at(0).as<std::string>();
  }

  std::unique_ptr<TransactionLog> log;
  std::unique_ptr<SagaLog> sagas;
};

inline const std::vector<std::string> just_started{"STARTED order.create"};

}  // namespace txcoord::test
