// Sagas for the audit's tests, written by SQL alone: each step with its barrier in one transaction,
// each state with its history and its key.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "tests/pg/audit_world.hpp"

namespace txcoord::audit {

struct SagaWorld : World {
  struct Plan {
    std::vector<std::string> steps, statuses;
  };
  struct SagaOf {
    std::string type, order_id, mode;
  };
  std::map<std::string, Plan> plans{
      {"place_order",
       {{"order.create", "inventory.reserve", "payment.charge", "shipping.arrange",
         "order.confirm"},
        {"STARTED", "ORDER_CREATED", "STOCK_RESERVED", "PAYMENT_COMPLETED", "PAYMENT_COMPLETED",
         "COMPLETED"}}},
      {"cancel_order",
       {{"order.cancel", "shipping.cancel", "payment.refund", "inventory.release"},
        {"STARTED", "ORDER_CANCELLED", "SHIPMENT_CANCELLED", "PAYMENT_REFUNDED", "COMPLETED"}}},
      {"place_order_2pc",
       {{"order.create", "transact"}, {"STARTED", "ORDER_CREATED", "COMPLETED"}}},
      {"place_order_pay_later",
       {{"order.create", "inventory.reserve", "shipping.arrange", "order.confirm",
         "payment.charge"},
        {"STARTED", "ORDER_CREATED", "STOCK_RESERVED", "SHIPMENT_ARRANGED", "ORDER_CONFIRMED",
         "COMPLETED"}}}};
  std::map<std::string, SagaOf> sagas;

  ServiceDatabase& service(const std::string& name) {
    if (name == "order") return order;
    if (name == "inventory") return inventory;
    return name == "payment" ? payment : shipping;
  }
  std::string order_of(const std::string& saga) { return sagas.at(saga).order_id; }

  std::string start(const std::string& type, const std::string& order_id,
                    const std::string& mode = "saga") {
    const std::string id = uuid_v7(), step = plans.at(type).steps.front();
    sagas[id] = {type, order_id, mode};
    log.run(logged(order_id, type == "cancel_order" ? "cancel" : "place", "pending", id) +
            ";INSERT INTO saga_instances (saga_id, saga_type, order_id, correlation_id, period,"
            " scope, idempotency_key, accepted, coordinator, epoch, status, current_step, payload)"
            " SELECT '" +
            id + "', '" + type + "', '" + order_id +
            "', '', period, scope, idempotency_key, false, 'c1', 2, 'STARTED', '" + step +
            "', '{}' FROM operations WHERE gid = '" + id + "';" +
            remembered(id, 0, "STARTED", step));
    return id;
  }
  static std::string remembered(const std::string& id, std::size_t n, const std::string& status,
                                const std::string& step) {
    return "INSERT INTO saga_history (saga_id, n, status, step) VALUES ('" + id + "', " +
           std::to_string(n) + ", '" + status + "', '" + step + "')";
  }

  void record(const std::string& id, const std::string& status, const std::string& step,
              std::size_t progress, const std::string& reason = "") {
    const bool completed = status == "COMPLETED", ended = completed || status == "FAILED";
    std::string sql = "UPDATE saga_instances SET status = '" + status + "', current_step = '" +
                      step + "', progress = " + std::to_string(progress) + ", reason = '" + reason +
                      "', updated_at = now()" + (ended ? ", ended_at = now(), payload = ''" : "") +
                      " WHERE saga_id = '" + id + "';";
    if (status == "ORDER_CONFIRMED") {
      sql += "UPDATE saga_instances SET answered = true WHERE saga_id = '" + id +
             "';UPDATE operations SET outcome = 'confirmed' WHERE gid = '" + id + "';";
    } else if (ended) {
      sql += "UPDATE operations SET reason = '" + reason + "', outcome = '" +
             (completed ? "confirmed" : "refused") + "' WHERE gid = '" + id +
             "' AND outcome = 'pending';";
    }
    log.run(sql + remembered(id, progress, status, step));
  }

  std::string effects(const std::string& step, const SagaOf& saga, const std::string& id) {
    const std::string q = "'" + saga.order_id + "'", mine = " WHERE order_id = " + q;
    if (step == "order.create") return new_order(q, "PENDING", saga.mode, id);
    if (step == "inventory.reserve") return reserve(q);
    if (step == "payment.charge") return charge(q);
    if (step == "shipping.arrange") return arrange(q);
    if (step == "order.confirm") return "UPDATE orders SET status = 'CONFIRMED'" + mine;
    if (step == "order.revoke")
      return "UPDATE orders SET status = 'CANCELLED', reason = 'CARD_DECLINED'" + mine;
    if (step == "order.cancel") return "UPDATE orders SET status = 'CANCELLED'" + mine;
    if (step == "order.fail")
      return "UPDATE orders SET status = 'FAILED', reason = 'CARD_DECLINED'" + mine;
    if (step == "inventory.release") return release(q);
    if (step == "payment.refund") return refund(q);
    REQUIRE(step == "shipping.cancel");
    return "UPDATE shipments SET status = 'CANCELLED'" + mine;
  }
  std::string barrier(const std::string& id, const std::string& step, const std::string& outcome) {
    return "INSERT INTO txc_saga_steps (saga_id, step, outcome, order_id) VALUES ('" + id + "', '" +
           step + "', '" + outcome + "', '" + sagas.at(id).order_id + "');";
  }
  // A step or a compensation: the effects and the barrier in one transaction.
  void run_step(const std::string& id, const std::string& step) {
    const auto dot = step.find('.');
    service(step.substr(0, dot))
        .run(barrier(id, step.substr(dot + 1), "done") + effects(step, sagas.at(id), id));
  }
  // The first `count` steps, each with its record.
  std::string forward(const std::string& id, std::size_t count) {
    const Plan& plan = plans.at(sagas.at(id).type);
    for (std::size_t i = 0; i < count; ++i) {
      run_step(id, plan.steps[i]);
      record(id, plan.statuses[i + 1], i + 1 < plan.steps.size() ? plan.steps[i + 1] : "", i + 1);
    }
    return id;
  }

  std::string begun(std::size_t steps) { return forward(start("place_order", uuid_v7()), steps); }
  std::string completed() { return begun(5); }
  // Its card was declined: stock is released, the order failed.
  std::string failed() {
    const std::string id = begun(2);
    payment.run(barrier(id, "charge", "refused"));
    record(id, "COMPENSATION_STARTED", "inventory.reserve", 9, "CARD_DECLINED");
    run_step(id, "inventory.release");
    record(id, "COMPENSATION_STARTED", "order.create", 10, "CARD_DECLINED");
    run_step(id, "order.fail");
    record(id, "FAILED", "", 11, "CARD_DECLINED");
    return id;
  }
  // Confirmed, its payment due; and what became of it when the card was declined.
  std::string due() { return forward(start("place_order_pay_later", uuid_v7()), 4); }
  std::string revoked() {
    const std::string id = due();
    payment.run(barrier(id, "charge", "refused"));
    const std::array<const char*, 5> undone{"order.confirm", "shipping.arrange",
                                            "inventory.reserve", "order.create", ""};
    const std::array<const char*, 4> by{"order.revoke", "shipping.cancel", "inventory.release",
                                        "order.fail"};
    record(id, "COMPENSATION_STARTED", undone[0], 7, "CARD_DECLINED");
    for (std::size_t i = 0; i < by.size(); ++i) {
      if (std::string(by[i]) == "order.fail") {  // cancelled already: its barrier alone
        order.run(barrier(id, "fail", "done"));
      } else {
        run_step(id, by[i]);
      }
      record(id, i + 1 < by.size() ? "COMPENSATION_STARTED" : "FAILED", undone[i + 1], 8 + i,
             "CARD_DECLINED");
    }
    return id;
  }
  void cancel_by_saga(const std::string& order_id) { forward(start("cancel_order", order_id), 4); }
  // Accepted in 2PC mode: a PENDING order, then a group under a key of the coordinator's own.
  std::string accepted() {
    const std::string id = forward(start("place_order_2pc", uuid_v7(), "2pc"), 1);
    place(order_of(id));
    record(id, "COMPLETED", "", 2);
    return order_of(id);
  }
};

}  // namespace txcoord::audit
