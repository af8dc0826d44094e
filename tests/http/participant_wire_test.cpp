// What the coordinator's end makes of answers that are malformed, out of step, or somebody else's:
// an answer that is not understood is an unknown outcome, never another call's.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <future>
#include <optional>

#include "participants/remote/remote_participant.hpp"
#include "tests/http/scripted_service.hpp"
#include "txcoord/base/logging.hpp"

using namespace txcoord;
using namespace txcoord::testing;
using remote::BreakerState;
using remote::RemoteService;
using std::chrono::milliseconds;
using Pieces = std::vector<std::string>;

namespace {

protocol::Gid gid_number(std::uint64_t seq) {
  const auto gid = protocol::parse_gid("txc_0123abcd_c1_1_89abcdef_" + std::to_string(seq));
  REQUIRE(gid);
  return *gid;
}

std::shared_ptr<const Operation> cancel(int number) {
  auto operation = std::make_shared<Operation>();
  operation->kind = OperationKind::cancel;
  operation->order_id = "order-" + std::to_string(number);
  return operation;
}

struct Rig {
  Rig() {
    logging::start("error");
    deadlines.vote = deadlines.prepare = deadlines.finish = milliseconds(300);
    remote_service = std::make_shared<RemoteService>(
        io.get_executor(), remote::parse_url(service.url()), std::string());
    participant = remote::make_remote_participant("payment", remote_service, deadlines, nullptr);
  }
  ~Rig() {
    service.stop();
    io.run_for(milliseconds(20));
  }

  template <class T>
  T wait(boost::asio::awaitable<T> work) {
    std::optional<T> result;
    const auto keep = [&]() -> boost::asio::awaitable<void> {
      result.emplace(co_await std::move(work));
    };
    boost::asio::co_spawn(io, keep(), boost::asio::detached);
    until([&] { return result.has_value(); });
    return std::move(*result);
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

  Result<Done> commit(std::uint64_t seq = 1) {
    return wait(participant->commit_prepared(gid_number(seq)));
  }
  // Of a commit that was answered so.
  Failure failure_of_commit(std::function<Pieces(const HeardCall&)> answer) {
    service.answer = std::move(answer);
    const auto done = commit();
    REQUIRE_FALSE(done.ok());
    return done.failure();
  }

  boost::asio::io_context io{1};
  ScriptedService service{io.get_executor()};
  ParticipantDeadlines deadlines;
  std::shared_ptr<RemoteService> remote_service;
  std::unique_ptr<Participant> participant;
};

std::string done_body(const HeardCall& call) { return remote::answer_text(call.identity, "{}"); }

std::string chunked(const std::string& body, const std::string& trailer = {}) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx", body.size() - 3);
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\n" +
         body.substr(0, 3) + "\r\n" + size + "\r\n" + body.substr(3) + "\r\n0\r\n" + trailer +
         "\r\n";
}

}  // namespace

TEST_CASE("interim answers are no answers: skipped, up to a bound, and nothing is out of step") {
  Rig rig;
  rig.service.answer = [](const HeardCall& call) {
    std::string interims;
    for (int i = 0; i < 8; ++i)
      interims += i % 2 == 0 ? "HTTP/1.1 100 Continue\r\n\r\n"
                             : "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    return Pieces{interims, done_answer(call)};
  };
  for (std::uint64_t seq = 1; seq < 5; ++seq) CHECK(rig.commit(seq).ok());
  CHECK(rig.service.connections == 1);
}

TEST_CASE("too many interim answers, and another protocol, are no answer: unknown, and closed") {
  const bool switched = GENERATE(false, true);
  Rig rig;
  const Failure failure = rig.failure_of_commit([&](const HeardCall& call) {
    std::string before = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
    if (!switched) {
      before.clear();
      for (int i = 0; i < 9; ++i) before += "HTTP/1.1 100 Continue\r\n\r\n";
    }
    return Pieces{before + done_answer(call)};
  });
  CHECK(failure.kind == FailureKind::unavailable);
  CHECK(failure.outcome_unknown);
  rig.service.answer = [](const HeardCall& call) { return Pieces{done_answer(call)}; };
  CHECK(rig.commit(2).ok());
  CHECK(rig.service.connections == 2);
}

TEST_CASE("bytes after an answer make it none, and the connection is not used again") {
  const std::string surplus = GENERATE("\n", "HTTP/1.1 200 OK\r\n\r\n", "x");
  Rig rig;
  const Failure failure = rig.failure_of_commit(
      [&](const HeardCall& call) { return Pieces{done_answer(call) + surplus}; });
  CHECK(failure.outcome_unknown);
  rig.service.answer = [](const HeardCall& call) { return Pieces{done_answer(call)}; };
  CHECK(rig.commit(2).ok());
  CHECK(rig.service.connections == 2);
}

TEST_CASE("an answer before the request was sent is none: the request is not sent on it") {
  Rig rig;
  rig.service.greeting = http_answer("{}");
  const auto early = rig.commit();
  REQUIRE_FALSE(early.ok());
  // Before the request it is no answer, after it one that is not understood: never is it taken.
  const FailureKind kind = early.failure().kind;
  CHECK((kind == FailureKind::unavailable || kind == FailureKind::unreadable));
  rig.service.greeting.clear();
  CHECK(rig.commit(2).ok());
}

TEST_CASE("an answer on an idle connection that nobody asked for is dropped with the connection") {
  Rig rig;
  std::optional<HeardCall> first;
  rig.service.answer = [&](const HeardCall& call) {
    Pieces pieces{done_answer(call)};
    if (!first) first = call;
    return pieces;
  };
  REQUIRE(rig.commit(1).ok());
  // The first answer again, as a proxy that tried twice would bring it.
  rig.service.answer = [&](const HeardCall& call) {
    return Pieces{done_answer(call), done_answer(*first)};
  };
  const auto second = rig.commit(2);
  if (!second.ok()) CHECK(second.failure().outcome_unknown);  // it came at once
  rig.service.answer = [](const HeardCall& call) { return Pieces{done_answer(call)}; };
  CHECK(rig.commit(3).ok());
  CHECK(rig.service.connections >= 2);
}

TEST_CASE("answers that belong to other questions are unknown outcomes, never yes") {
  Rig rig;
  const auto changed = GENERATE_REF(0, 1, 2, 3);
  const Failure failure = rig.failure_of_commit([&](const HeardCall& call) {
    HeardCall other = call;
    if (changed == 0) other.identity.call = "rollback";
    if (changed == 1) other.identity.gid = format(gid_number(99));
    if (changed == 2) other.identity.request_id = "another";
    if (changed == 3) other.identity.gid.clear();
    return Pieces{done_answer(other)};
  });
  CHECK(failure.kind == FailureKind::unreadable);
  CHECK(failure.outcome_unknown);
}

TEST_CASE("two answers that change places are believed by neither caller") {
  Rig rig;
  std::vector<HeardCall> both;
  rig.service.answer = [&](const HeardCall& call) {
    HeardCall other = call;
    other.identity = {"commit", format(gid_number(call.identity.gid.ends_with("_1") ? 2 : 1)),
                      "of the other one"};
    return Pieces{done_answer(other)};
  };
  for (const std::uint64_t seq : {1, 2}) {
    const auto done = rig.commit(seq);
    REQUIRE_FALSE(done.ok());
    CHECK(done.failure().outcome_unknown);
  }
}

TEST_CASE("statuses, media types and codings that no participant sends are unknown outcomes") {
  struct Case {
    const char* status;
    const char* media_type;
    const char* more;
  };
  const auto tried = GENERATE(
      Case{"201 Created", "application/json", ""}, Case{"202 Accepted", "application/json", ""},
      Case{"204 No Content", "application/json", ""}, Case{"302 Found", "application/json", ""},
      Case{"200 OK", "text/html", ""}, Case{"200 OK", "text/plain", ""},
      Case{"200 OK", "application/problem+json", ""},
      Case{"200 OK", "application/json", "Content-Type: text/html\r\n"},
      Case{"200 OK", "application/json", "Content-Encoding: gzip\r\n"},
      Case{"502 Bad Gateway", "text/html", ""}, Case{"503 Service Unavailable", "text/plain", ""},
      Case{"409 Conflict", "application/json", ""}, Case{"404 Not Found", "application/json", ""});
  CAPTURE(tried.status, tried.media_type, tried.more);
  Rig rig;
  const Failure failure = rig.failure_of_commit([&](const HeardCall& call) {
    std::string text = http_answer(done_body(call), tried.status, tried.media_type);
    text.insert(text.find("Content-Length"), tried.more);
    if (std::string_view(tried.status).starts_with("204")) text.resize(text.find("\r\n\r\n") + 4);
    return Pieces{text};
  });
  CHECK(failure.outcome_unknown);
  const bool not_reached = std::string_view(tried.status).starts_with("50");
  CHECK(failure.kind == (not_reached ? FailureKind::unavailable : FailureKind::unreadable));
}

TEST_CASE("bodies that are another kind of answer, or none, are never taken for yes") {
  const std::string members =
      GENERATE(as<std::string>(), R"({"ok":true})", R"({"present":true})", R"({"votes":[]})",
               R"({"done":false})", R"({"done":true,"failure":"busy","outcome_unknown":false})",
               R"({"done":true,"votes":[]})", R"({"done":true,"done":true})", R"({"gids":[]})");
  CAPTURE(members);
  Rig rig;
  const Failure failure = rig.failure_of_commit([&](const HeardCall& call) {
    return Pieces{http_answer(remote::answer_text(call.identity, members))};
  });
  CHECK(failure.outcome_unknown);
}

TEST_CASE("an answer of an older participant is none, and the reason says what to upgrade") {
  Rig rig;
  const Failure failure =
      rig.failure_of_commit([](const HeardCall&) { return Pieces{http_answer("{}")}; });
  CHECK(failure.outcome_unknown);
  CHECK(failure.message.find("Upgrade participants first") != std::string::npos);
  for (int i = 0; i < 5; ++i) (void)rig.commit();
  REQUIRE(rig.remote_service->breaker() != BreakerState::closed);
  // The first cause is not hidden by what follows from it.
  const auto held_back = rig.commit();
  CHECK(held_back.failure().message.find("Upgrade participants first") != std::string::npos);
}

TEST_CASE(
    "chunks, split packets, HTTP/1.0, and a connection that closes are answers all the same") {
  const int form = GENERATE(0, 1, 2, 3, 4);
  CAPTURE(form);
  Rig rig;
  rig.service.close_after_answer = form >= 3;
  rig.service.answer = [&](const HeardCall& call) {
    const std::string body = done_body(call), whole = done_answer(call);
    Pieces pieces;
    if (form == 0) pieces = {chunked(body)};
    if (form == 1) pieces = {chunked(body, "X-Trailer: 1\r\n")};
    if (form == 2)
      for (const char c : whole) pieces.emplace_back(1, c);
    if (form == 3) pieces = {"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body};
    if (form == 4) {
      pieces = {whole};
      pieces[0].insert(pieces[0].find("Content-Length"), "Connection: close\r\n");
    }
    return pieces;
  };
  for (std::uint64_t seq = 1; seq < 4; ++seq) CHECK(rig.commit(seq).ok());
}

TEST_CASE("a body that is cut off is an unknown outcome, wherever it is cut") {
  const int form = GENERATE(0, 1, 2);
  CAPTURE(form);
  Rig rig;
  rig.service.close_after_answer = true;
  const Failure failure = rig.failure_of_commit([&](const HeardCall& call) {
    const std::string body = done_body(call);
    std::string whole = form == 1 ? chunked(body) : done_answer(call);
    if (form == 2) whole = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body;
    whole.pop_back();
    return Pieces{whole};
  });
  CHECK(failure.outcome_unknown);
}

TEST_CASE("a failure is believed with its identity alone; without it the outcome is unknown") {
  Rig rig;
  const auto told = [&](bool with_identity) {
    return rig.failure_of_commit([=](const HeardCall& call) {
      const std::string body =
          R"({"failure":"not_found","outcome_unknown":false,"sqlstate":"42704","detail":""})";
      return Pieces{http_answer(with_identity ? remote::answer_text(call.identity, body) : body,
                                "404 Not Found", "application/problem+json")};
    });
  };
  CHECK(told(true).kind == FailureKind::not_found);
  CHECK_FALSE(told(true).outcome_unknown);
  CHECK(told(false).kind == FailureKind::unreadable);
  CHECK(told(false).outcome_unknown);
}

TEST_CASE(
    "a vote that is answered by nobody's word is released at once; it is not known as unknown") {
  const int form = GENERATE(0, 1, 2, 3, 4);
  CAPTURE(form);
  Rig rig;
  rig.service.answer = [&](const HeardCall& call) -> Pieces {
    if (call.identity.call != "vote") return {done_answer(call)};
    const auto vote = [](const char* order) {
      return std::string(R"({"order_id":")") + order + R"(","answer":"yes","final":true})";
    };
    const auto votes = [&](const std::string& list) {
      return http_answer(remote::answer_text(call.identity, R"({"votes":[)" + list + "]}"));
    };
    switch (form) {
      case 0: return {http_answer("<html>", "502 Bad Gateway", "text/html")};
      case 1: return {http_answer("{}", "201 Created")};
      case 2: return {votes(vote("order-1"))};
      case 3: return {votes(vote("order-2") + "," + vote("order-1"))};
      default: return {};
    }
  };
  const auto votes = rig.wait(rig.participant->vote(gid_number(1), {cancel(1), cancel(2)}));
  REQUIRE_FALSE(votes.ok());
  CHECK_FALSE(votes.failure().outcome_unknown);
  rig.until([&] { return rig.service.count("release") == 1; });
  CHECK(rig.service.calls.back().identity.gid == format(gid_number(1)));
}

TEST_CASE("a judge that is not understood, or silent, sends a release; so does a lost PREPARE") {
  const bool judging = GENERATE(true, false);
  Rig rig;
  rig.service.answer = [&](const HeardCall& call) -> Pieces {
    if (call.identity.call == "release") return {done_answer(call)};
    if (call.identity.call == "vote")
      return {http_answer(remote::answer_text(
          call.identity, R"({"votes":[{"order_id":"order-1","answer":"yes","final":true}]})"))};
    if (judging) return {http_answer(remote::answer_text(call.identity, R"({"votes":[]})"))};
    return {http_answer("<html>", "502 Bad Gateway", "text/html")};
  };
  REQUIRE(rig.wait(rig.participant->vote(gid_number(1), {cancel(1)})).ok());
  if (judging) {
    CHECK_FALSE(rig.wait(rig.participant->judge(gid_number(1), {true})).ok());
  } else {
    const auto prepared = rig.wait(rig.participant->prepare(gid_number(1), {true}));
    REQUIRE_FALSE(prepared.ok());
    CHECK(prepared.failure().outcome_unknown);
  }
  rig.until([&] { return rig.service.count("release") == 1; });
}

TEST_CASE("a release that nobody waits for is sent again until it is answered, a bounded number") {
  Rig rig;
  int lost = 3;
  rig.service.answer = [&](const HeardCall& call) -> Pieces {
    if (call.identity.call == "release" && lost-- <= 0) return {done_answer(call)};
    return {};
  };
  CHECK_FALSE(rig.wait(rig.participant->vote(gid_number(1), {cancel(1)})).ok());
  rig.until([&] { return lost < 0; });
}

TEST_CASE("a repeated call whose second try is refused is not known to be undone") {
  Rig rig;
  int tries = 0;
  rig.service.answer = [&](const HeardCall& call) -> Pieces {
    if (++tries == 1) return {};
    const std::string body = R"({"failure":"error","outcome_unknown":false})";
    return {http_answer(remote::answer_text(call.identity, body), "500 Internal Server Error",
                        "application/problem+json")};
  };
  const remote::CallRules repeated{milliseconds(300), true, true};
  const auto answer =
      rig.wait(rig.remote_service->call({"payment", "commit", "", "a test"}, "{}", repeated));
  REQUIRE_FALSE(answer.ok());
  CHECK(tries == 2);
  CHECK(answer.failure().kind == FailureKind::error);
  CHECK(answer.failure().outcome_unknown);
}

TEST_CASE("a service with several addresses is reached at the one that answers") {
  Rig rig;
  const auto here = boost::asio::ip::address_v4::loopback();
  const auto port =
      static_cast<std::uint16_t>(std::stoul(remote::parse_url(rig.service.url()).port));
  // One that nobody has (TEST-NET-1): silent, or refused by the nearest router. One that refuses.
  const remote::Addresses several{
      {{boost::asio::ip::make_address("192.0.2.1"), 9}, {here, 1}, {here, port}}, {}};
  const auto service = std::make_shared<RemoteService>(
      rig.io.get_executor(), remote::parse_url("http://a.name"), std::string(),
      remote::LinkLimits{}, [several](const std::string&, const std::string&) { return several; });
  const auto participant =
      remote::make_remote_participant("payment", service, rig.deadlines, nullptr);
  CHECK(rig.wait(participant->commit_prepared(gid_number(1))).ok());
}

TEST_CASE("a service whose name is slow is sent nothing, in time, and keeps no other one waiting") {
  Rig rig;
  auto answers = std::make_shared<std::promise<void>>();
  const std::shared_future<void> answered = answers->get_future().share();
  const auto service = std::make_shared<RemoteService>(
      rig.io.get_executor(), remote::parse_url("http://a.name"), std::string(),
      remote::LinkLimits{}, [answered](const std::string&, const std::string&) {
        answered.wait();
        return remote::Addresses{{}, "too late"};
      });
  const auto slow = remote::make_remote_participant("payment", service, rig.deadlines, nullptr);
  std::optional<Result<Done>> ended;
  const auto keep = [&]() -> boost::asio::awaitable<void> {
    auto committing = slow->commit_prepared(gid_number(1));
    ended.emplace(co_await std::move(committing));
  };
  const auto started = std::chrono::steady_clock::now();
  boost::asio::co_spawn(rig.io, keep(), boost::asio::detached);
  CHECK(rig.commit(2).ok());
  CHECK_FALSE(ended.has_value());
  rig.until([&] { return ended.has_value(); });
  CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(3));
  REQUIRE_FALSE(ended->ok());
  CHECK(ended->failure().kind == FailureKind::unavailable);
  CHECK_FALSE(ended->failure().outcome_unknown);
  answers->set_value();
}
