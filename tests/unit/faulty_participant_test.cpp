// Faults on demand: what each mode does to each call, and that it leaves nothing dishonest behind.
#include "participants/faulty_participant.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace txcoord {
namespace {

using protocol::Answer;

// Writes down what reaches it, and answers yes and done.
class Recorder final : public Participant {
 public:
  explicit Recorder(std::string name) : name_(std::move(name)) {}
  std::vector<std::string> calls;
  StepRequest last_step;

  std::string_view name() const override { return name_; }
  bool touches(const Operation&) const override { return true; }
  asio::awaitable<Result<protocol::Votes>> vote(protocol::Gid, Operations operations) override {
    calls.emplace_back("vote");
    co_return protocol::Votes(operations.size());
  }
  asio::awaitable<Result<protocol::Votes>> judge(protocol::Gid, OperationMask mask) override {
    calls.emplace_back("judge");
    co_return protocol::Votes(mask.size());
  }
  asio::awaitable<Result<Done>> prepare(protocol::Gid, OperationMask) override {
    return done("prepare");
  }
  asio::awaitable<void> release(protocol::Gid) override {
    calls.emplace_back("release");
    co_return;
  }
  asio::awaitable<Result<Done>> commit_prepared(protocol::Gid) override { return done("commit"); }
  asio::awaitable<Result<Done>> rollback_prepared(protocol::Gid) override {
    return done("rollback");
  }
  asio::awaitable<Result<bool>> has_witness(protocol::Gid) override {
    calls.emplace_back("witness");
    co_return true;
  }
  asio::awaitable<Result<std::vector<protocol::Gid>>> list_prepared(std::string) override {
    calls.emplace_back("list");
    co_return std::vector<protocol::Gid>{};
  }
  asio::awaitable<Result<Done>> trim_witnesses(std::vector<protocol::Gid>) override {
    return done("trim");
  }
  asio::awaitable<Result<ParticipantGauges>> gauges(std::string) override {
    calls.emplace_back("gauges");
    co_return ParticipantGauges{};
  }
  asio::awaitable<Result<std::vector<StepReply>>> run_step(protocol::Gid,
                                                           StepRequest request) override {
    calls.emplace_back("step");
    last_step = std::move(request);
    co_return std::vector<StepReply>(last_step.calls.size());
  }
  asio::awaitable<Result<Done>> trim_steps(std::vector<std::string>) override {
    return done("trim_steps");
  }
  asio::awaitable<Result<BarriersPage>> list_steps(BarriersQuery) override {
    calls.emplace_back("list_steps");
    co_return BarriersPage{};
  }
  asio::awaitable<Result<protocol::LogPoint>> log_seen(std::string) override {
    calls.emplace_back("log_seen");
    co_return protocol::LogPoint{};
  }
  asio::awaitable<Result<Done>> note_log_seen(std::string, protocol::LogPoint) override {
    return done("note_log_seen");
  }

 private:
  asio::awaitable<Result<Done>> done(const char* call) {
    calls.emplace_back(call);
    co_return Done{};
  }
  std::string name_;
};

struct Rig {
  explicit Rig(const std::string& name = "payment") : inner(name) {}
  boost::asio::io_context io;
  Recorder inner;
  FaultyParticipant faulty{inner, 42};

  void set(FaultMode mode, double rate = 1, std::chrono::milliseconds delay = {}) {
    faulty.set(ParticipantFaults{rate, delay, mode});
  }
  template <class T>
  T await(asio::awaitable<T> work) {
    std::optional<T> result;
    // A function, not a lambda with captures: its frame keeps its arguments.
    constexpr auto await_into = [](asio::awaitable<T> call,
                                   std::optional<T>& into) -> asio::awaitable<void> {
      into.emplace(co_await std::move(call));
    };
    asio::co_spawn(io, await_into(std::move(work), result), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
    io.restart();
    io.run();
    return std::move(*result);
  }
  Result<protocol::Votes> vote(const Operations& operations) {
    return await(faulty.vote({}, operations));
  }
  Result<std::vector<StepReply>> step(StepRequest request) {
    return await(faulty.run_step({}, std::move(request)));
  }
};

std::shared_ptr<const Operation> of_kind(OperationKind kind) {
  auto operation = std::make_shared<Operation>();
  operation->kind = kind;
  return operation;
}
const std::shared_ptr<const Operation> an_order = of_kind(OperationKind::place);

StepRequest charge(std::size_t calls) {
  StepRequest request{.step = "charge"};
  while (request.calls.size() < calls) request.calls.push_back({"saga", an_order});
  return request;
}

using Calls = std::vector<std::string>;

TEST_CASE("faults: none set, none suffered", "[faults]") {
  Rig rig;
  CHECK(rig.vote({an_order}).value().at(0).answer == Answer::yes);
  CHECK(rig.await(rig.faulty.prepare({}, {true})).ok());
  CHECK(rig.await(rig.faulty.commit_prepared({})).ok());
  CHECK(rig.await(rig.faulty.rollback_prepared({})).ok());
  CHECK(rig.step(charge(2)).value().size() == 2);
  CHECK(rig.inner.calls == Calls{"vote", "prepare", "commit", "rollback", "step"});
}

TEST_CASE("faults: an error is told before anything is sent, and leaves no branch", "[faults]") {
  Rig rig;
  rig.set(FaultMode::error);
  const auto check = [](const Failure& failure) {
    CHECK(failure.kind == FailureKind::error);
    CHECK_FALSE(failure.outcome_unknown);
  };
  check(rig.vote({an_order}).failure());
  check(rig.await(rig.faulty.commit_prepared({})).failure());
  check(rig.await(rig.faulty.rollback_prepared({})).failure());
  check(rig.step(charge(1)).failure());
  CHECK(rig.inner.calls.empty());
  check(rig.await(rig.faulty.prepare({}, {true})).failure());
  CHECK(rig.inner.calls == Calls{"release"});
}

TEST_CASE("faults: a lost answer is work that was done, with the outcome unknown", "[faults][I8]") {
  Rig rig;
  rig.set(FaultMode::lost_answer);
  const auto check = [](const Failure& failure, bool unknown) {
    CHECK(failure.kind == FailureKind::timeout);
    CHECK(failure.outcome_unknown == unknown);
  };
  check(rig.await(rig.faulty.prepare({}, {true})).failure(), true);
  check(rig.await(rig.faulty.commit_prepared({})).failure(), true);
  check(rig.await(rig.faulty.rollback_prepared({})).failure(), true);
  check(rig.step(charge(1)).failure(), true);
  CHECK(rig.inner.calls == Calls{"prepare", "commit", "rollback", "step"});
  // A vote is never in doubt: the branch that nobody knows of is ended.
  rig.inner.calls.clear();
  check(rig.vote({an_order}).failure(), false);
  CHECK(rig.inner.calls == Calls{"vote", "release"});
}

TEST_CASE("faults: whoever is down answers nothing, whatever the rate", "[faults]") {
  Rig rig;
  rig.set(FaultMode::down, 0);
  const auto check = [](const auto& result) {
    REQUIRE_FALSE(result.ok());
    CHECK(result.failure().kind == FailureKind::unavailable);
    CHECK_FALSE(result.failure().outcome_unknown);
  };
  check(rig.vote({an_order}));
  check(rig.await(rig.faulty.commit_prepared({})));
  check(rig.await(rig.faulty.rollback_prepared({})));
  check(rig.await(rig.faulty.has_witness({})));
  check(rig.await(rig.faulty.list_prepared("")));
  check(rig.await(rig.faulty.trim_witnesses({})));
  check(rig.await(rig.faulty.gauges("")));
  check(rig.step(charge(1)));
  check(rig.await(rig.faulty.trim_steps({})));
  check(rig.await(rig.faulty.list_steps({})));
  check(rig.await(rig.faulty.log_seen("")));
  check(rig.await(rig.faulty.note_log_seen("", {})));
  CHECK(rig.inner.calls.empty());
  rig.faulty.set(std::nullopt);
  CHECK(rig.await(rig.faulty.list_prepared("")).ok());
}

TEST_CASE("faults: an order is refused for good, and nothing but an order", "[faults]") {
  const auto [name, reason] =
      GENERATE(std::pair{"inventory", "OUT_OF_STOCK"}, std::pair{"payment", "CARD_DECLINED"},
               std::pair{"shipping", "CARRIER_UNAVAILABLE"});
  Rig rig(name);
  rig.set(FaultMode::refuse);
  const auto votes = rig.vote({an_order, of_kind(OperationKind::cancel)}).value();
  CHECK(votes[0].answer == Answer::no);
  CHECK(votes[0].final);
  CHECK(votes[0].reason == reason);
  CHECK(votes[1].answer == Answer::yes);
}

TEST_CASE("faults: a saga's step is refused through its barrier, a compensation never",
          "[faults][I8]") {
  Rig rig;
  rig.set(FaultMode::refuse);
  rig.step(charge(1));
  CHECK(rig.inner.last_step.calls[0].refuse_as == "CARD_DECLINED");
  rig.step(
      {.step = "refund", .undoes = "charge", .calls = {{"saga", of_kind(OperationKind::cancel)}}});
  CHECK(rig.inner.last_step.calls[0].refuse_as.empty());
  Rig order("order");
  order.set(FaultMode::refuse);
  order.step(charge(1));
  CHECK(order.inner.last_step.calls[0].refuse_as.empty());
}

TEST_CASE("faults: a rate is a share of the calls, the same ones for the same seed", "[faults]") {
  const auto run = [] {
    Rig rig;
    rig.set(FaultMode::error, 0.3);
    std::string pattern;
    for (int i = 0; i < 1000; ++i)
      pattern += rig.await(rig.faulty.commit_prepared({})).ok() ? '.' : 'x';
    return pattern;
  };
  const std::string first = run();
  CHECK(run() == first);
  const auto failed = std::count(first.begin(), first.end(), 'x');
  CHECK(failed > 240);
  CHECK(failed < 360);
}

TEST_CASE("faults: of a batch only some are refused", "[faults]") {
  Rig rig;
  rig.set(FaultMode::refuse, 0.5);
  rig.step(charge(200));
  std::size_t refused = 0;
  for (const StepCall& call : rig.inner.last_step.calls) refused += call.refuse_as.empty() ? 0 : 1;
  CHECK(refused > 60);
  CHECK(refused < 140);
}

TEST_CASE("faults: a delay comes before the call, and housekeeping does not wait", "[faults]") {
  Rig rig;
  rig.set(FaultMode::error, 0, std::chrono::milliseconds(30));
  auto started = std::chrono::steady_clock::now();
  CHECK(rig.vote({an_order}).ok());
  CHECK(std::chrono::steady_clock::now() - started >= std::chrono::milliseconds(30));
  rig.set(FaultMode::error, 0, std::chrono::hours(1));
  CHECK(rig.await(rig.faulty.list_prepared("")).ok());
}

TEST_CASE("faults: a mode is written and read the same", "[faults]") {
  const auto mode =
      GENERATE(FaultMode::error, FaultMode::lost_answer, FaultMode::refuse, FaultMode::down);
  CHECK(parse_fault_mode(to_string(mode)) == mode);
  CHECK_FALSE(parse_fault_mode("sometimes").has_value());
}

}  // namespace
}  // namespace txcoord
