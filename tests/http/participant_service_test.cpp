// A participant as a service: the coordinator's client against the real server on loopback, over a
// participant in memory. What goes wrong on the way, and what each end makes of it.
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <catch2/catch_test_macros.hpp>
#include <optional>
#include <vector>

#include "participants/remote/remote_participant.hpp"
#include "tests/unit/fake_participant.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/http/participant_api.hpp"
#include "txcoord/http/server.hpp"

using namespace txcoord;
using namespace txcoord::testing;
using remote::BreakerState;
using remote::RemoteService;
using std::chrono::milliseconds;

namespace {

protocol::Gid gid_number(std::uint64_t seq) {
  const auto gid = protocol::parse_gid("txc_0123abcd_c1_1_89abcdef_" + std::to_string(seq));
  REQUIRE(gid);
  return *gid;
}

std::string gid_body(const protocol::Gid& gid) { return R"({"gid":")" + format(gid) + R"("})"; }

std::shared_ptr<const Operation> cancel() {
  auto operation = std::make_shared<Operation>();
  operation->kind = OperationKind::cancel;
  operation->order_id = "0190a1b2-0000-7000-8000-000000000001";
  return operation;
}

// The service and its client on one I/O context.
struct Rig {
  explicit Rig(const std::string& token = {}, const std::string& callers_token = {},
               milliseconds branch_open_max = milliseconds(10'000))
      : host(io.get_executor(), {{"payment", {.participant = &fake}}}, branch_open_max),
        api(host, metrics, settings, token, nullptr) {
    logging::start("error");
    fake.poison_key = "none of these";
    open_somewhere();
    auto url = remote::parse_url("http://127.0.0.1:" + std::to_string(port));
    service = std::make_shared<RemoteService>(io.get_executor(), url, callers_token);
    deadlines.vote = deadlines.prepare = deadlines.finish = milliseconds(500);
    participant = remote::make_remote_participant("payment", service, deadlines, &metrics);
  }
  ~Rig() {
    host.stop();
    stop();
    io.run_for(milliseconds(50));
  }

  void start() {
    server = std::make_unique<http::Server>(io.get_executor(), settings, api);
    server->start();
  }
  // On a port that it can have again: below those that the kernel gives to outgoing connections.
  void open_somewhere() {
    for (int offset = ::getpid() % 5000;; offset = (offset + 1) % 5000) {
      port = settings.port = static_cast<std::uint16_t>(20'000 + 2 * offset);
      try {
        return start();
      } catch (const SettingsError&) {
        continue;  // taken
      }
    }
  }
  // As a killed process: its port refuses, its connections are gone.
  void stop() {
    if (server == nullptr) return;
    settings.drain_ms_max = 0;
    wait(server->drain());
    io.run_for(milliseconds(20));
    io.restart();
    // What is left of its coroutines still looks at it.
    gone.push_back(std::move(server));
  }

  template <class T>
  static boost::asio::awaitable<void> keep(boost::asio::awaitable<T> work,
                                           std::optional<T>& result) {
    result.emplace(co_await std::move(work));
  }
  // `result` is set when the work is done.
  template <class T>
  void begin(boost::asio::awaitable<T> work, std::optional<T>& result) {
    boost::asio::co_spawn(io, keep(std::move(work), result), boost::asio::detached);
  }
  template <class T>
  T wait(boost::asio::awaitable<T> work) {
    std::optional<T> result;
    begin(std::move(work), result);
    until([&] { return result.has_value(); });
    return std::move(*result);
  }
  void wait(boost::asio::awaitable<void> work) {
    bool done = false;
    boost::asio::co_spawn(io, std::move(work), [&](const std::exception_ptr&) { done = true; });
    until([&] { return done; });
  }
  template <class Condition>
  void until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition() && std::chrono::steady_clock::now() < deadline) {
      io.restart();
      io.run_one_for(milliseconds(100));
    }
    REQUIRE(condition());
  }

  boost::asio::io_context io{1};
  Script script{io.get_executor()};
  FakeParticipant fake{"payment", script};
  Metrics metrics;
  HttpSettings settings;
  std::uint16_t port = 0;
  remote::ParticipantHost host;
  http::ParticipantApi api;
  std::unique_ptr<http::Server> server;
  std::vector<std::unique_ptr<http::Server>> gone;
  std::shared_ptr<RemoteService> service;
  ParticipantDeadlines deadlines;
  std::unique_ptr<Participant> participant;
};

}  // namespace

TEST_CASE("a branch over HTTP: vote, judge, prepare, commit, witness") {
  Rig rig;
  const auto gid = gid_number(1);
  rig.fake.judge_one = [](const Operation& operation) {
    return protocol::Vote{protocol::Answer::no, false, "INSUFFICIENT_FUNDS", operation.order_id};
  };
  const auto votes = rig.wait(rig.participant->vote(gid, {cancel(), cancel()}));
  REQUIRE(votes.ok());
  REQUIRE(votes.value().size() == 2);
  CHECK(votes.value()[1] ==
        protocol::Vote{protocol::Answer::no, false, "INSUFFICIENT_FUNDS", cancel()->order_id});
  CHECK(rig.wait(rig.participant->judge(gid, {true, false})).ok());
  CHECK(rig.host.open_branches() == 1);
  REQUIRE(rig.wait(rig.participant->prepare(gid, {true, false})).ok());
  CHECK(rig.host.open_branches() == 0);
  CHECK(rig.wait(rig.participant->list_prepared("0123abcd")).value() == std::vector{gid});
  CHECK_FALSE(rig.wait(rig.participant->has_witness(gid)).value());
  CHECK(rig.wait(rig.participant->commit_prepared(gid)).ok());
  CHECK(rig.wait(rig.participant->has_witness(gid)).value());
  const auto again = rig.wait(rig.participant->commit_prepared(gid));
  REQUIRE_FALSE(again.ok());
  CHECK(again.failure().kind == FailureKind::not_found);
}

TEST_CASE("a gid is voted on once and prepared once, whoever sends it again") {
  Rig rig;
  const auto gid = gid_number(1);
  REQUIRE(rig.wait(rig.participant->vote(gid, {cancel()})).ok());
  CHECK_FALSE(rig.wait(rig.participant->vote(gid, {cancel()})).ok());
  REQUIRE(rig.wait(rig.participant->prepare(gid, {true})).ok());
  CHECK_FALSE(rig.wait(rig.participant->prepare(gid, {true})).ok());
  CHECK(count(rig.script.trace, "payment.vote") == 1);
  CHECK(count(rig.script.trace, "payment.prepare") == 1);
}

TEST_CASE("failures of the participant's database arrive as what they are") {
  Rig rig;
  rig.script.fail("payment.vote", {FailureKind::deadlock, false, "40P01", "deadlock detected"});
  const auto voted = rig.wait(rig.participant->vote(gid_number(1), {cancel()}));
  REQUIRE_FALSE(voted.ok());
  CHECK(voted.failure().kind == FailureKind::deadlock);
  CHECK(voted.failure().sqlstate == "40P01");
  CHECK(rig.host.open_branches() == 0);
  REQUIRE(rig.wait(rig.participant->vote(gid_number(2), {cancel()})).ok());
  rig.script.fail("payment.prepare", {FailureKind::unavailable, true, "08006", "lost"});
  const auto prepared = rig.wait(rig.participant->prepare(gid_number(2), {true}));
  REQUIRE_FALSE(prepared.ok());
  CHECK(prepared.failure().outcome_unknown);
  CHECK(rig.service->breaker() == BreakerState::closed);  // it answered
}

TEST_CASE("a service that is not there: nothing was done, and nobody has to ask") {
  Rig rig;
  rig.stop();
  const auto prepared = rig.wait(rig.participant->prepare(gid_number(1), {true}));
  REQUIRE_FALSE(prepared.ok());
  CHECK(prepared.failure().kind == FailureKind::unavailable);
  CHECK_FALSE(prepared.failure().outcome_unknown);
}

TEST_CASE(
    "a service that dies during a PREPARE leaves its outcome unknown; during a vote it does not") {
  Rig rig;
  for (const bool preparing : {false, true}) {
    const auto gid = gid_number(preparing ? 2 : 1);
    if (preparing) REQUIRE(rig.wait(rig.participant->vote(gid, {cancel()})).ok());
    const std::string held = preparing ? "payment.prepare" : "payment.vote";
    rig.script.hold(held);
    std::optional<Result<Done>> prepared;
    std::optional<Result<protocol::Votes>> voted;
    if (preparing) {
      rig.begin(rig.participant->prepare(gid, {true}), prepared);
    } else {
      rig.begin(rig.participant->vote(gid, {cancel()}), voted);
    }
    rig.until([&] { return count(rig.script.trace, held) == 1; });
    rig.stop();
    rig.until([&] { return prepared.has_value() || voted.has_value(); });
    const Failure failure = preparing ? prepared->failure() : voted->failure();
    CHECK(failure.kind == FailureKind::unavailable);
    CHECK(failure.outcome_unknown == preparing);
    rig.script.let_go(held);
    rig.start();
    // What was under way in the process that died is not this one's.
    rig.until([&] { return count(rig.script.trace, held + " done") == 1; });
  }
}

TEST_CASE("a service that is late is a timeout, and its late answer is nobody else's") {
  Rig rig;
  rig.script.hold("payment.vote");
  const auto late = rig.wait(rig.participant->vote(gid_number(1), {cancel()}));
  REQUIRE_FALSE(late.ok());
  CHECK(late.failure().kind == FailureKind::timeout);
  rig.script.let_go("payment.vote");
  CHECK_FALSE(rig.wait(rig.participant->has_witness(gid_number(9))).value());
}

TEST_CASE("a vote whose caller did not hear it is given up: it keeps no lock when it gets it") {
  Rig rig;
  const auto gid = gid_number(1);
  rig.script.hold("payment.vote");
  CHECK_FALSE(rig.wait(rig.participant->vote(gid, {cancel()})).ok());
  // The release reaches the service while the vote is still under way there.
  rig.until([&] { return rig.metrics.serialize().find("code=\"200\"") != std::string::npos; });
  CHECK(count(rig.script.trace, "payment.release") == 0);
  rig.script.let_go("payment.vote");
  rig.until([&] { return count(rig.script.trace, "payment.release done") == 1; });
  rig.until([&] { return rig.host.open_branches() == 0; });
}

TEST_CASE("a judge whose caller did not wait for it is given up: it keeps no lock when it ends") {
  Rig rig;
  const auto gid = gid_number(1);
  REQUIRE(rig.wait(rig.participant->vote(gid, {cancel()})).ok());
  rig.script.hold("payment.judge");
  const auto judged = rig.wait(rig.participant->judge(gid, {true}));
  REQUIRE_FALSE(judged.ok());
  CHECK(judged.failure().kind == FailureKind::timeout);
  // The release reaches the service while the judge is still under way there.
  rig.until(
      [&] { return rig.wait(rig.host.handle("payment", "release", gid_body(gid))).status == 200; });
  CHECK(count(rig.script.trace, "payment.release") == 0);
  rig.script.let_go("payment.judge");
  rig.until([&] { return count(rig.script.trace, "payment.release done") == 1; });
  rig.until([&] { return rig.host.open_branches() == 0; });
}

TEST_CASE("a release during a PREPARE ends nothing that is prepared") {
  Rig rig;
  const auto gid = gid_number(1);
  REQUIRE(rig.wait(rig.participant->vote(gid, {cancel()})).ok());
  rig.script.hold("payment.prepare");
  const auto prepared = rig.wait(rig.participant->prepare(gid, {true}));
  REQUIRE_FALSE(prepared.ok());
  CHECK(prepared.failure().outcome_unknown);
  rig.script.let_go("payment.prepare");
  rig.until([&] { return rig.host.open_branches() == 0; });
  CHECK(rig.fake.prepared == std::set{gid});
  CHECK(count(rig.script.trace, "payment.release") == 0);
}

TEST_CASE("a vote that comes after its release, or once more after its end, opens no branch") {
  Rig rig;
  rig.wait(rig.participant->release(gid_number(1)));
  CHECK_FALSE(rig.wait(rig.participant->vote(gid_number(1), {cancel()})).ok());
  REQUIRE(rig.wait(rig.participant->vote(gid_number(2), {cancel()})).ok());
  REQUIRE(rig.wait(rig.participant->prepare(gid_number(2), {true})).ok());
  CHECK_FALSE(rig.wait(rig.participant->vote(gid_number(2), {cancel()})).ok());
  CHECK(rig.host.open_branches() == 0);
  CHECK(count(rig.script.trace, "payment.vote") == 1);
}

TEST_CASE("every answer repeats its question, a failure's too, and older callers' by the header") {
  Rig rig;
  const auto gid = gid_number(1);
  const auto answered = [&](const char* call, const std::string& body, const char* header) {
    return rig.wait(rig.host.handle("payment", call, body, header)).body;
  };
  const std::string text = format(gid);
  const std::string asked = R"({"call":"witness","request_id":"r1","gid":")" + text + R"("})";
  CHECK(answered("witness", asked, "of the header")
            .starts_with(R"({"call":"witness","request_id":"r1","gid":")" + text + R"(")"));
  CHECK(answered("commit", gid_body(gid), "r2")
            .starts_with(R"({"call":"commit","request_id":"r2","gid":")" + text + R"(")"));
  CHECK(answered("commit", "{", "r3").starts_with(R"({"call":"commit","request_id":"r3","title")"));
  CHECK(answered("release", gid_body(gid), "r4").ends_with(R"("done":true})"));
}

TEST_CASE("a request for another call, or another participant, than its path says is refused") {
  Rig rig;
  const std::string gid = format(gid_number(1));
  REQUIRE(rig.wait(rig.participant->vote(gid_number(1), {cancel()})).ok());
  const auto prepare = [&](const std::string& more) {
    return rig
        .wait(rig.host.handle("payment", "prepare",
                              R"({"gid":")" + gid + R"(","survivors":[true])" + more + "}"))
        .status;
  };
  CHECK(prepare(R"(,"call":"judge")") == 400);
  CHECK(prepare(R"(,"participant":"order")") == 400);
  CHECK(prepare(R"(,"survivors":[true])") == 400);  // named twice
  CHECK(rig.fake.prepared.empty());
  CHECK(prepare(R"(,"call":"prepare","participant":"payment")") == 200);
}

TEST_CASE("a call whose body is not said to be JSON is refused before it is read") {
  Rig rig;
  const std::string body = gid_body(gid_number(1));
  const auto status = [&](std::string_view media_type) {
    http::Request request;
    request.method = "POST";
    request.target = "/participant/v1/payment/witness";
    request.content_type = media_type;
    request.request_id = "r1";
    request.body = body;
    return rig.wait(rig.api.handle(request)).status;
  };
  CHECK(status("application/json") == 200);
  CHECK(status("Application/JSON; charset=utf-8") == 200);
  for (const char* other : {"", "text/plain", "application/x-www-form-urlencoded", "text/json"})
    CHECK(status(other) == 415);
}

TEST_CASE("five calls without an answer open the breaker, and a probe's answer closes it") {
  Rig rig;
  rig.stop();
  for (int i = 0; i < 5; ++i)
    CHECK_FALSE(rig.wait(rig.participant->has_witness(gid_number(1))).ok());
  CHECK(rig.service->breaker() == BreakerState::open);
  const auto held_back = rig.wait(rig.participant->prepare(gid_number(1), {true}));
  CHECK(held_back.failure().message.find("circuit breaker") != std::string::npos);
  CHECK_FALSE(held_back.failure().outcome_unknown);
  rig.start();
  rig.until([&] { return rig.wait(rig.participant->has_witness(gid_number(1))).ok(); });
  CHECK(rig.service->breaker() == BreakerState::closed);
}

TEST_CASE("a branch that its coordinator left open is released, a prepared one never") {
  Rig rig({}, {}, milliseconds(50));
  boost::asio::co_spawn(rig.io, rig.host.sweep(), boost::asio::detached);
  REQUIRE(rig.wait(rig.participant->vote(gid_number(1), {cancel()})).ok());
  REQUIRE(rig.wait(rig.participant->prepare(gid_number(1), {true})).ok());
  REQUIRE(rig.wait(rig.participant->vote(gid_number(2), {cancel()})).ok());
  rig.until([&] { return count(rig.script.trace, "payment.release") == 1; });
  rig.until([&] { return rig.host.open_branches() == 0; });
  CHECK(rig.fake.prepared == std::set{gid_number(1)});
  CHECK_FALSE(rig.wait(rig.participant->prepare(gid_number(2), {true})).ok());
}

TEST_CASE("a coordinator that was started again finds the branches of its last life released") {
  Rig rig;
  const auto older = protocol::parse_gid("txc_0123abcd_c1_1_89abcdef_5");
  const auto others = protocol::parse_gid("txc_0123abcd_c2_1_89abcdef_5");
  const auto newer = protocol::parse_gid("txc_0123abcd_c1_2_fedcba98_1");
  REQUIRE(rig.wait(rig.participant->vote(*older, {cancel()})).ok());
  REQUIRE(rig.wait(rig.participant->vote(*others, {cancel()})).ok());
  REQUIRE(rig.wait(rig.participant->vote(*newer, {cancel()})).ok());
  CHECK(count(rig.script.trace, "payment.release done") == 1);
  CHECK_FALSE(rig.wait(rig.participant->prepare(*older, {true})).ok());
  CHECK(rig.wait(rig.participant->prepare(*others, {true})).ok());
  CHECK(rig.wait(rig.participant->prepare(*newer, {true})).ok());
}

TEST_CASE("whoever lacks the token is refused, and no branch begins") {
  Rig rig("s3cret", "other");
  const auto refused = rig.wait(rig.participant->vote(gid_number(1), {cancel()}));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::error);
  CHECK(rig.script.trace.empty());
  Rig trusted("s3cret", "s3cret");
  CHECK(trusted.wait(trusted.participant->vote(gid_number(1), {cancel()})).ok());
}

TEST_CASE("a wrong token is named to whoever looks here, however often it is tried") {
  Rig rig("s3cret", "other");
  for (int i = 0; i < 8; ++i) {
    const auto refused = rig.wait(rig.participant->has_witness(gid_number(1)));
    REQUIRE_FALSE(refused.ok());
    // What /readyz?verbose shows as last_error.
    const std::string shown = words_for_anybody(refused.failure());
    CHECK(shown.find("status 401") != std::string::npos);
    CHECK(shown.find("internal_token") != std::string::npos);
    CHECK(shown.find("s3cret") == std::string::npos);
    CHECK(shown.find("circuit breaker") == std::string::npos);
    // The service answers: that is the truth of the breaker.
    CHECK(rig.service->breaker() == BreakerState::closed);
  }
}

TEST_CASE("an answer for another number of operations is no answer") {
  Rig rig;
  const auto gid = gid_number(1);
  REQUIRE(rig.wait(rig.participant->vote(gid, {cancel(), cancel()})).ok());
  const auto judged = rig.wait(rig.participant->judge(gid, {true}));
  REQUIRE_FALSE(judged.ok());
  CHECK(judged.failure().kind == FailureKind::error);
}

TEST_CASE("calls that the protocol does not know, and bodies that are none, are told apart") {
  Rig rig;
  const auto call = [&](const char* participant, const char* name, const char* body) {
    return rig.wait(rig.host.handle(participant, name, body));
  };
  CHECK(call("payment", "vote", "{").status == 400);
  CHECK(call("payment", "vote", "[]").status == 400);
  CHECK(call("payment", "vote", R"({"gid":"txc_0123abcd_c1_1_89abcdef_1"})").status == 400);
  CHECK(call("order", "vote", "{}").status == 404);
  const auto missing = call("payment", "commit", R"({"gid":"txc_0123abcd_c1_1_89abcdef_1"})");
  CHECK(missing.status == 404);
  CHECK(missing.body.find(R"("failure":"not_found")") != std::string::npos);
}
