// A participant on a fresh database, driven as the engine drives it, and operations to give it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "participants/pg_participant.hpp"
#include "tests/pg/service_database.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord::test {

using protocol::Answer;
using protocol::Gid;
using protocol::Votes;

inline constexpr const char* installation = "0123abcd";

inline std::shared_ptr<Operation> operation_on(std::string order_id, OperationKind kind) {
  auto operation = std::make_shared<Operation>();
  operation->kind = kind;
  operation->order_id = std::move(order_id);
  operation->correlation_id = "corr-1";
  operation->created_at = now_utc();
  return operation;
}

// The total is the sum of the items.
inline std::shared_ptr<Operation> place_order(std::vector<OrderItem> items,
                                              const std::string& customer = "customer-001") {
  auto operation = operation_on(uuid_v7(), OperationKind::place);
  for (OrderItem& item : items) {
    item.reservation_id = uuid_v7();
    operation->place.total_amount += item.quantity * item.unit_price;
  }
  operation->place.items = std::move(items);
  operation->place.customer_id = customer;
  operation->place.payment_id = uuid_v7();
  return operation;
}

inline DatabaseSettings settings_of(const ServiceDatabase& database) {
  DatabaseSettings settings;
  settings.dsn = database.dsn();
  return settings;
}

inline Gid gid_number(std::uint64_t seq) { return {installation, "c1", 1, "89abcdef", seq}; }

// The four calls of a branch, with what a test of a healthy one expects.
class BranchDriver {
 public:
  BranchDriver(boost::asio::io_context& io, Participant& participant)
      : io_(io), participant_(participant) {}

  Gid next_gid() { return gid_number(++seq_); }
  Votes vote(const Gid& gid, const Operations& group, LockMode mode = LockMode::skip) {
    auto votes = try_vote(gid, group, mode);
    if (!votes) FAIL("vote: " << votes.failure().message);
    return votes.value();
  }
  Result<Votes> try_vote(const Gid& gid, const Operations& group, LockMode mode = LockMode::skip) {
    return await(io_, participant_.vote(gid, group, mode));
  }
  Result<Done> prepare(const Gid& gid, const OperationMask& survivors) {
    return await(io_, participant_.prepare(gid, survivors));
  }
  Result<Done> commit(const Gid& gid) { return await(io_, participant_.commit_prepared(gid)); }
  Result<Done> roll_back(const Gid& gid) { return await(io_, participant_.rollback_prepared(gid)); }
  bool has_witness(const Gid& gid) { return await(io_, participant_.has_witness(gid)).value(); }
  void release(const Gid& gid) { await(io_, release_of(participant_, gid)); }

  // Vote and prepare; everybody survives who got yes.
  Gid prepared(const Operations& group) {
    const Gid gid = next_gid();
    OperationMask survivors;
    for (const auto& each : vote(gid, group)) survivors.push_back(each.answer == Answer::yes);
    const auto done = prepare(gid, survivors);
    if (!done) FAIL("prepare: " << done.failure().message);
    return gid;
  }
  Gid committed(const Operations& group) {
    const Gid gid = prepared(group);
    REQUIRE(commit(gid).ok());
    return gid;
  }

 private:
  static asio::awaitable<Done> release_of(Participant& participant, Gid gid) {
    auto releasing = participant.release(std::move(gid));
    co_await std::move(releasing);
    co_return Done{};
  }

  boost::asio::io_context& io_;
  Participant& participant_;
  std::uint64_t seq_ = 0;
};

}  // namespace txcoord::test
