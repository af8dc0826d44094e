// What becomes of operations whose rows somebody else holds, and of everybody else.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>

#include "tests/unit/coordinator_rig.hpp"
#include "txcoord/engine/contention.hpp"
#include "txcoord/engine/group_queue.hpp"
#include "txcoord/engine/own_rows.hpp"

using namespace txcoord;
using namespace txcoord::engine;
using namespace txcoord::testing;
using std::chrono::milliseconds;

namespace {

constexpr const char* held_row = "payment/held";

class Queue {
 public:
  explicit Queue(GroupLimits limits = {}) : queue(limits) {}

  SubmissionPtr add(const std::string& key, const std::string& customer) {
    auto operation = std::make_shared<Operation>();
    operation->order_id = "order-" + key;
    operation->idempotency_key = key;
    operation->place.customer_id = customer;
    auto submission = std::make_shared<Submission>(context.get_executor(), operation);
    submission->submitted_at = now + milliseconds(added_++);
    submission->give_up_at = now + milliseconds(1500);
    queue.push(submission);
    return submission;
  }
  // The next group's keys; its orders are free again at once.
  std::vector<std::string> next(LockMode mode = LockMode::skip) {
    std::vector<std::string> keys;
    auto request = queue.form(now, mode);
    if (!request) return keys;
    for (const auto& member : request->members) keys.push_back(member->operation->idempotency_key);
    queue.release_orders(request->members);
    return keys;
  }
  // Set aside as often as makes its row rest.
  void quarantine(const SubmissionPtr& submission, bool one_holder = true) {
    for (int i = 0; i < 3; ++i) {
      const std::string holder = one_holder ? "77" : std::to_string(i);
      REQUIRE(queue.set_aside(submission, held_row, holder, now));
      now += milliseconds(5);
      if (i < 2) REQUIRE(next().size() == 1);
    }
  }

  boost::asio::io_context context;
  SteadyTime now = std::chrono::steady_clock::now();
  GroupQueue queue;

 private:
  int added_ = 0;
};

using Keys = std::vector<std::string>;

}  // namespace

TEST_CASE("an operation that is set aside comes again after a moment, behind what waits") {
  Queue queue;
  const auto first = queue.add("a", "held");
  REQUIRE(queue.next() == Keys{"a"});
  REQUIRE(queue.queue.set_aside(first, held_row, "77", queue.now));
  queue.add("b", "free");
  CHECK(queue.next() == Keys{"b"});
  queue.now += milliseconds(5);
  CHECK(queue.next() == Keys{"a"});
}

TEST_CASE("a row that was held three times rests, and one operation probes it") {
  Queue queue;
  const auto first = queue.add("a", "held");
  REQUIRE(queue.next() == Keys{"a"});
  queue.quarantine(first);
  queue.add("b", "held");
  queue.add("c", "free");
  CHECK(queue.next() == Keys{"c"});  // b waits beside a
  CHECK(queue.queue.size() == 2);
  queue.now += milliseconds(100);
  queue.add("d", "free");
  CHECK(queue.next() == Keys{"a", "d"});  // the oldest probes, the others go on
  REQUIRE(queue.queue.set_aside(first, held_row, "77", queue.now));
  CHECK(queue.next().empty());  // it rests anew
  queue.now += milliseconds(100);
  CHECK(queue.next() == Keys{"a"});
  queue.queue.obtained(*first);
  CHECK(queue.next() == Keys{"b"});
  CHECK(queue.queue.quarantine().empty());
}

TEST_CASE("no more than four rows are probed in one group, and what is stuck is not waited for") {
  Queue queue;
  std::vector<SubmissionPtr> all;
  for (int i = 0; i < 6; ++i) {
    const std::string n = std::to_string(i);
    all.push_back(queue.add("k" + n, "c" + n));
  }
  REQUIRE(queue.next().size() == 6);
  const auto held = [&] {
    for (const auto& submission : all)
      REQUIRE(queue.queue.set_aside(submission, submission->rows.keys.back(), "77", queue.now));
    queue.now += milliseconds(80);
  };
  held();
  REQUIRE(queue.next().size() == 6);
  held();
  REQUIRE(queue.next().size() == 6);
  held();
  queue.now += milliseconds(100);
  queue.add("free", "free");
  // They probe in a group of their own, which skips.
  const auto probing = queue.queue.form(queue.now, LockMode::wait);
  REQUIRE(probing);
  CHECK(probing->lock_mode == LockMode::skip);
  CHECK(probing->members.size() == 4);
  CHECK(queue.next() == Keys{"k4", "k5", "free"});
}

TEST_CASE("a row that goes from hand to hand is waited for with the others, not probed for ever") {
  Queue queue;
  const auto first = queue.add("a", "held");
  REQUIRE(queue.next() == Keys{"a"});
  queue.quarantine(first, false);
  queue.add("b", "held");
  queue.add("c", "free");
  CHECK(queue.next() == Keys{"c"});
  CHECK(queue.queue.quarantine().contended_since() == first->submitted_at);
  SECTION("it is contended") { CHECK(queue.next(LockMode::wait) == Keys{"a", "b"}); }
  SECTION("a voter that does not wait is not asked at once again") {
    REQUIRE(queue.next(LockMode::wait) == Keys{"a", "b"});
    REQUIRE(queue.queue.set_aside(first, held_row, "99", queue.now));
    CHECK(queue.next(LockMode::wait).empty());
    queue.now += milliseconds(5);
    CHECK(queue.next(LockMode::wait) == Keys{"a"});
  }
  SECTION("one transaction has it for longer than a wait may last: it is stuck") {
    for (int i = 0; i < 2; ++i) {
      queue.now += milliseconds(100);
      REQUIRE(queue.next() == Keys{"a"});
      REQUIRE(queue.queue.set_aside(first, held_row, "88", queue.now));
    }
    queue.now += milliseconds(100);
    REQUIRE(queue.next() == Keys{"a"});
    REQUIRE(queue.queue.set_aside(first, held_row, "88", queue.now));
    CHECK_FALSE(queue.queue.quarantine().contended_since());
    CHECK(queue.next(LockMode::wait).empty());
    queue.add("d", "free");
    CHECK(queue.next(LockMode::wait) == Keys{"d"});
  }
}

TEST_CASE("what waits for a contended row counts as set aside when the next group is judged") {
  Queue queue;
  const auto first = queue.add("a", "held");
  REQUIRE(queue.next() == Keys{"a"});
  queue.quarantine(first, false);
  queue.add("b", "held");
  CHECK(queue.next().empty());
  queue.add("c", "held");
  queue.add("d", "free");
  const auto request = queue.queue.form(queue.now, LockMode::skip);
  REQUIRE(request);
  CHECK(request->members.size() == 1);
  CHECK(request->parked == 2);
}

TEST_CASE("an eighth of the queue may wait for one row, what comes beyond is turned away") {
  Queue queue({.queue_max = 16});
  const auto first = queue.add("a", "held");
  REQUIRE(queue.next() == Keys{"a"});
  queue.quarantine(first);
  for (const char* key : {"b", "c"}) queue.add(key, "held");
  CHECK(queue.next().empty());
  const Submissions turned_away = queue.queue.take_turned_away();
  REQUIRE(turned_away.size() == 1);
  CHECK(turned_away.front()->operation->idempotency_key == "c");
}

TEST_CASE("what waits for a held row gives up at its time, and the row is forgotten") {
  Queue queue;
  const auto first = queue.add("a", "held");
  REQUIRE(queue.next() == Keys{"a"});
  queue.quarantine(first);
  queue.now += milliseconds(2000);
  CHECK(queue.queue.expire(queue.now, false).size() == 1);
  CHECK(queue.queue.quarantine().empty());
  queue.add("b", "held");
  CHECK(queue.next() == Keys{"b"});
}

TEST_CASE("rows are waited for while many are held, for half a second") {
  Contention contention;
  const auto now = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) contention.judged(100, 20, now);
  CHECK(contention.mode(now) == LockMode::skip);
  contention.judged(100, 100, now);
  CHECK(contention.mode(now) == LockMode::wait);
  CHECK(contention.mode(now + milliseconds(499)) == LockMode::wait);
  CHECK(contention.mode(now + milliseconds(500)) == LockMode::skip);
}

TEST_CASE("rows are waited for twice as long while skipping fails again and again, up to 8 s") {
  Contention contention;
  auto now = std::chrono::steady_clock::now();
  for (const int expected : {500, 1000, 2000, 4000, 8000, 8000}) {
    for (int i = 0; i < 2; ++i) contention.judged(100, 100, now);
    CHECK(contention.mode(now + milliseconds(expected - 1)) == LockMode::wait);
    CHECK(contention.mode(now + milliseconds(expected)) == LockMode::skip);
    now += milliseconds(expected + 100);
  }
  now += milliseconds(400);
  for (int i = 0; i < 2; ++i) contention.judged(100, 100, now);
  CHECK(contention.mode(now + milliseconds(500)) == LockMode::skip);
}

TEST_CASE("rows are waited for when one of ours has waited long for a contended one") {
  Contention contention;
  const auto now = std::chrono::steady_clock::now();
  contention.waiting_for(milliseconds(300), now);
  CHECK(contention.mode(now) == LockMode::skip);
  contention.waiting_for(milliseconds(301), now);
  CHECK(contention.mode(now) == LockMode::wait);
  CHECK(contention.mode(now + milliseconds(500)) == LockMode::skip);
}

TEST_CASE("a group waits for its own rows where an earlier group has not ended, and nowhere else") {
  boost::asio::io_context io;
  OwnRows rows(io.get_executor());
  Queue queue;
  const protocol::Gid first{"0123abcd", "c1", 1, "89abcdef", 1};
  protocol::Gid second = first, third = first;
  second.seq = 2;
  third.seq = 3;
  rows.take(first, "payment", {queue.add("a", "one")});
  rows.take(second, "payment", {queue.add("b", "one")});
  rows.take(third, "payment", {queue.add("c", "two")});
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  bool second_waited = false, third_waited = false;
  const auto wait = [&](const protocol::Gid& gid, bool& over) {
    boost::asio::co_spawn(io, rows.wait(gid, "payment", until),
                          [&over](const std::exception_ptr&) { over = true; });
  };
  wait(second, second_waited);
  wait(third, third_waited);
  io.poll();
  CHECK_FALSE(second_waited);
  CHECK(third_waited);
  SECTION("its branch has ended") { rows.ended(first, "payment"); }
  SECTION("its branch waits for its database") { rows.stuck(first, "payment"); }
  SECTION("the group is over") { rows.forget(first); }
  io.restart();
  io.poll();
  CHECK(second_waited);
}

TEST_CASE("groups that wait for their own rows do not wake each other") {
  boost::asio::io_context io;
  OwnRows rows(io.get_executor());
  Queue queue;
  const protocol::Gid first{"0123abcd", "c1", 1, "89abcdef", 1};
  protocol::Gid second = first;
  second.seq = 2;
  int waiting = 2;
  for (const char* participant : {"payment", "inventory"}) {
    auto member = queue.add(participant, "one");
    member->rows.keys = {"payment/one", "inventory/one"};
    rows.take(first, participant, {member});
    rows.take(second, participant, {member});
    boost::asio::co_spawn(
        io,
        rows.wait(second, participant, std::chrono::steady_clock::now() + std::chrono::seconds(20)),
        [&waiting](const std::exception_ptr&) { --waiting; });
  }
  std::size_t steps = 0;
  while (steps < 1000 && io.poll_one() > 0) ++steps;
  CHECK(steps < 1000);
  CHECK(waiting == 2);
  rows.forget(first);
  io.restart();
  io.poll();
  CHECK(waiting == 0);
}

// --- the coordinator ---------------------------------------------------------------------------

TEST_CASE("one held row: its operation waits and is confirmed when it is free, others at once") {
  Rig rig;
  bool held = true;
  rig.payment.judge_one = [&](const Operation& operation) {
    protocol::Vote vote;
    if (held && operation.place.customer_id == "held") {
      vote.answer = protocol::Answer::retry;
      vote.busy = held_row;
    }
    return vote;
  };
  const auto of = [&](const std::string& key, const std::string& customer) {
    auto operation = rig.operation(key);
    operation->place.customer_id = customer;
    return operation;
  };
  const auto waiting = rig.start(of("a", "held"));
  for (int i = 0; i < 20; ++i) {
    const std::string n = std::to_string(i);
    CHECK(rig.submit(of("b" + n, "free" + n)).status == SubmitStatus::confirmed);
  }
  CHECK_FALSE(waiting->has_value());
  // Its key stays in flight meanwhile (I5).
  CHECK(rig.submit(of("a", "held")).status == SubmitStatus::in_flight);
  held = false;
  REQUIRE(rig.run_until([&] { return waiting->has_value(); }));
  CHECK((*waiting)->status == SubmitStatus::confirmed);
}

TEST_CASE("a row held for longer than an operation may wait: 503, and nothing is recorded") {
  Settings settings = quick_settings();
  settings.engine.queue_wait_ms_max = 300;
  Rig rig(settings);
  rig.payment.judge_one = [](const Operation&) {
    protocol::Vote vote;
    vote.answer = protocol::Answer::retry;
    vote.busy = held_row;
    return vote;
  };
  const auto result = rig.submit(rig.operation("a"));
  CHECK(result.status == SubmitStatus::overloaded);
  CHECK(result.reason == "OVERLOADED");
  CHECK(count(rig.script.trace, "log.refuse") == 0);
  CHECK(count(rig.script.trace, "log.decide") == 0);
}

TEST_CASE("many held rows: voters are asked to wait for them") {
  Rig rig;
  rig.payment.judge_one = [](const Operation&) {
    protocol::Vote vote;
    vote.answer = protocol::Answer::retry;
    vote.busy = held_row;
    return vote;
  };
  const auto waiting = rig.start(rig.operation("a"));
  REQUIRE(rig.run_until([&] { return rig.payment.last_lock_mode == LockMode::wait; }));
}
