// A coordinator over four participants and both logs in memory, for tests of the engine alone.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "tests/unit/engine_fakes.hpp"
#include "tests/unit/fake_saga_log.hpp"
#include "txcoord/engine/coordinator.hpp"

namespace txcoord::testing {

using engine::Coordinator;
using engine::CrashPoints;
using engine::SubmitOptions;
using engine::SubmitResult;
using std::chrono::milliseconds;

inline Settings quick_settings() {
  Settings settings;
  settings.engine.recovery_interval_ms = 20;
  settings.engine.lease_ms = 400;
  settings.engine.queue_wait_ms_max = 10000;
  settings.saga.retry_ms_min = 1;
  settings.saga.retry_ms_max = 5;
  return settings;
}

// A coordinator over four participants and a log in memory, run on this thread.
class Rig {
 public:
  explicit Rig(Settings with = quick_settings())
      : settings(std::move(with)),
        script(context.get_executor()),
        order("order", script),
        inventory("inventory", script),
        payment("payment", script),
        shipping("shipping", script),
        log(script),
        saga_log(&script),
        coordinator(context.get_executor(), settings, {&order, &inventory, &payment, &shipping},
                    log, saga_log, crash, metrics,
                    [this](std::string why) { fatal = std::move(why); }) {
    asio::co_spawn(context, coordinator.start(), asio::detached);
    REQUIRE(run_until([this] { return coordinator.ready(); }));
    script.trace.clear();
  }

  ~Rig() {
    bool stopped = false;
    asio::co_spawn(context, coordinator.drain(milliseconds(0)),
                   [&](const std::exception_ptr&) { stopped = true; });
    run_until([&] { return stopped; });
    context.restart();
    context.run_for(milliseconds(20));  // the loops see that they are stopped, and end
  }

  // Runs the I/O context until the condition holds; false after twenty seconds.
  bool run_until(const std::function<bool()>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      context.restart();
      context.run_for(milliseconds(1));
    }
    return true;
  }

  std::shared_ptr<Operation> operation(const std::string& key,
                                       OperationKind kind = OperationKind::place) {
    auto made = std::make_shared<Operation>();
    made->kind = kind;
    made->order_id = "order-" + key;
    made->scope = "-:POST:/v1/orders";
    made->idempotency_key = key;
    return made;
  }

  // Submits and runs until it is answered.
  SubmitResult submit(std::shared_ptr<const Operation> what, SubmitOptions options = {}) {
    const auto result = start(std::move(what), options);
    REQUIRE(run_until([&] { return result->has_value(); }));
    return **result;
  }
  std::shared_ptr<std::optional<SubmitResult>> start(std::shared_ptr<const Operation> what,
                                                     SubmitOptions options = {}) {
    auto result = std::make_shared<std::optional<SubmitResult>>();
    asio::co_spawn(context, coordinator.submit(std::move(what), options),
                   [result](const std::exception_ptr& error, SubmitResult value) {
                     if (!error) *result = std::move(value);
                   });
    return result;
  }
  bool idle() { return coordinator.active().empty(); }

  Settings settings;
  asio::io_context context{1};
  Script script;
  FakeParticipant order, inventory, payment, shipping;
  FakeLog log;
  FakeSagaLog saga_log;
  CrashPoints crash;
  Metrics metrics;
  std::string fatal;
  Coordinator coordinator;
};

}  // namespace txcoord::testing
