// Steps of sagas, given to a participant as the engine gives them: a saga's operation under another
// kind for each step, alone or in batches.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/pg/branch_rig.hpp"

namespace txcoord::test {

struct TestSaga {
  std::string id;
  std::shared_ptr<const Operation> operation;

  StepCall call(OperationKind kind, const std::string& reason = "") const {
    auto step = std::make_shared<Operation>(*operation);
    step->kind = kind;
    step->reason = reason;
    return {id, std::move(step)};
  }
};

inline TestSaga saga_of(const Operation& placed) {
  TestSaga saga{uuid_v7(), nullptr};
  auto operation = std::make_shared<Operation>(placed);
  operation->mode = "saga";
  operation->transaction_id = saga.id;
  saga.operation = std::move(operation);
  return saga;
}

class StepDriver {
 public:
  StepDriver(boost::asio::io_context& io, Participant& participant)
      : io_(io), participant_(participant) {}

  // Every run has a gid of its own, far from those of BranchDriver.
  Gid next_gid() { return gid_number(1'000'000 + ++seq_); }

  std::shared_ptr<Running<Result<std::vector<StepReply>>>> start(StepRequest request) {
    return test::start(io_, participant_.run_step(next_gid(), std::move(request)));
  }
  Result<std::vector<StepReply>> try_run(StepRequest request) {
    return finish(io_, start(std::move(request)));
  }
  std::vector<StepReply> run(StepRequest request) {
    auto replies = try_run(std::move(request));
    if (!replies) FAIL("step: " << replies.failure().message);
    return replies.value();
  }
  StepReply run_one(const std::string& step, StepCall call) {
    return run({.step = step, .calls = {std::move(call)}}).at(0);
  }
  StepReply undo_one(const std::string& step, const std::string& undoes, StepCall call) {
    return run({.step = step, .undoes = undoes, .calls = {std::move(call)}}).at(0);
  }

 private:
  boost::asio::io_context& io_;
  Participant& participant_;
  std::uint64_t seq_ = 0;
};

// The barrier's row of a saga's step: its outcome, or empty.
inline std::string barrier(ServiceDatabase& database, const TestSaga& saga,
                           const std::string& step) {
  return database.value("SELECT outcome FROM txc_saga_steps WHERE saga_id = '" + saga.id +
                        "' AND step = '" + step + "'");
}

}  // namespace txcoord::test
