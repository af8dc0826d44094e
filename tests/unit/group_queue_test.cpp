// How groups are formed: batching, keys that may not meet, orders that are not applied yet.
#include "txcoord/engine/group_queue.hpp"

#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace txcoord;
using namespace txcoord::engine;
using std::chrono::milliseconds;

namespace {

class Queue {
 public:
  explicit Queue(GroupLimits limits = {}) : queue(limits) {}

  SubmissionPtr add(const std::string& order, const std::string& key, std::size_t items = 1) {
    auto operation = std::make_shared<Operation>();
    operation->order_id = order;
    operation->scope = "-:POST:/v1/orders";
    operation->idempotency_key = key;
    operation->place.items.resize(items);
    auto submission = std::make_shared<Submission>(context.get_executor(), operation);
    submission->give_up_at = now + milliseconds(1000);
    queue.push(submission);
    return submission;
  }

  // The orders of the next group, in order; empty if there is none.
  std::vector<std::string> next() {
    auto request = queue.form(now, LockMode::skip);
    std::vector<std::string> orders;
    if (!request) return orders;
    for (const auto& member : request->members) orders.push_back(member->operation->order_id);
    last = std::move(*request);
    return orders;
  }

  boost::asio::io_context context;
  SteadyTime now = std::chrono::steady_clock::now();
  GroupQueue queue;
  GroupRequest last;
};

using Orders = std::vector<std::string>;

}  // namespace

TEST_CASE("a lone operation goes at once, and everything that is queued goes together") {
  Queue queue;
  queue.add("a", "1");
  CHECK(queue.next() == Orders{"a"});
  queue.add("b", "2");
  queue.add("c", "3");
  CHECK(queue.next() == Orders{"b", "c"});
  CHECK(queue.next().empty());
}

TEST_CASE("a group ends at its limits of operations and of rows") {
  Queue by_operations({.operations_max = 2});
  for (const char* order : {"a", "b", "c"}) by_operations.add(order, order);
  CHECK(by_operations.next() == Orders{"a", "b"});
  CHECK(by_operations.next() == Orders{"c"});

  Queue by_rows({.rows_max = 5});
  by_rows.add("a", "1", 3);
  by_rows.add("b", "2", 3);
  by_rows.add("c", "3", 100);
  CHECK(by_rows.next() == Orders{"a"});
  CHECK(by_rows.next() == Orders{"b"});
  CHECK(by_rows.next() == Orders{"c"});  // larger than any group may be, so it goes alone
}

TEST_CASE("I5: two operations with one key never share a group") {
  Queue queue;
  queue.add("a", "same");
  queue.add("b", "same");
  CHECK(queue.next() == Orders{"a"});
  CHECK(queue.next() == Orders{"b"});
}

TEST_CASE("I9: an operation waits until the group that changed its order is applied") {
  Queue queue;
  queue.add("a", "place");
  REQUIRE(queue.next() == Orders{"a"});
  const Submissions placed = queue.last.members;
  queue.add("a", "cancel");
  queue.add("b", "other");
  CHECK(queue.next() == Orders{"b"});
  CHECK(queue.next().empty());
  queue.queue.release_orders(placed);
  CHECK(queue.next() == Orders{"a"});
}

TEST_CASE("operations on one order keep their order of arrival, in groups of their own") {
  Queue queue;
  queue.add("a", "first");
  queue.add("a", "second");
  queue.add("a", "third");
  for (const char* key : {"first", "second", "third"}) {
    REQUIRE(queue.next() == Orders{"a"});
    CHECK(queue.last.members.front()->operation->idempotency_key == key);
    queue.queue.release_orders(queue.last.members);
  }
}

TEST_CASE("an operation that must wait does not overtake nor hold up others") {
  Queue queue;
  queue.add("a", "later")->not_before = queue.now + milliseconds(10);
  queue.add("a", "after it");
  queue.add("b", "free");
  CHECK(queue.next() == Orders{"b"});
  queue.now += milliseconds(10);
  CHECK(queue.next() == Orders{"a"});
  CHECK(queue.last.members.front()->operation->idempotency_key == "later");
}

TEST_CASE(
    "a resubmitted group goes first, as it is, when its time has come, and keeps its orders busy") {
  Queue queue;
  queue.add("a", "1");
  queue.add("b", "2");
  REQUIRE(queue.next() == Orders{"a", "b"});
  GroupRequest again = queue.last;
  again.not_before = queue.now + milliseconds(5);
  queue.queue.resubmit(again);
  queue.add("a", "cancel");
  queue.add("c", "3");
  CHECK(queue.queue.size() == 4);
  CHECK(queue.next() == Orders{"c"});
  queue.now += milliseconds(5);
  CHECK(queue.next() == Orders{"a", "b"});
  CHECK(queue.next().empty());
}

TEST_CASE("what has waited too long is given up, alone or with its resubmitted group") {
  Queue queue;
  queue.add("a", "1");
  REQUIRE(queue.next() == Orders{"a"});
  queue.queue.resubmit(queue.last);
  queue.add("b", "2");
  queue.add("c", "3")->give_up_at = queue.now + milliseconds(5000);
  CHECK(queue.queue.expire(queue.now + milliseconds(999), false).empty());
  CHECK(queue.queue.expire(queue.now + milliseconds(1000), false).size() == 2);
  CHECK(queue.queue.size() == 1);
  queue.add("a", "again");  // its order is free again
  CHECK(queue.next() == Orders{"c", "a"});
}

TEST_CASE("everything is given up when a database is away") {
  Queue queue;
  queue.add("a", "1");
  queue.add("b", "2");
  CHECK(queue.queue.expire(queue.now, true).size() == 2);
  CHECK(queue.queue.size() == 0);
}
