// One checker for each invariant. None of them looks at how the world came to be as it is.
#include "tests/sim/saga_checkers.hpp"

#include <algorithm>
#include <set>

namespace txcoord::saga_sim {
namespace {

bool stands(const std::map<std::string, Effect>& effects, const std::string& order) {
  const auto found = effects.find(order);
  return found != effects.end() && found->second.stands;
}

// The saga of this order that ended completed, doing this.
bool completed(const World& world, const std::string& order, bool cancel) {
  return std::ranges::any_of(world.log, [&](const auto& saga) {
    return saga.second.order == order && (saga.second.what == What::cancel) == cancel &&
           saga.second.status == protocol::saga_completed;
  });
}

// Why the saga that placed it failed; empty if it did not.
std::string reason_of_failure(const World& world, const std::string& order) {
  for (const auto& [id, entry] : world.log)
    if (entry.order == order && entry.what != What::cancel && entry.status == protocol::saga_failed)
      return entry.reason;
  return {};
}

// Confirmed to its client, and undone when what was due was refused.
bool revoked(const World& world, const std::string& order) {
  return std::ranges::any_of(world.log, [&](const auto& saga) {
    return saga.second.order == order && saga.second.confirmed &&
           saga.second.status == protocol::saga_failed;
  });
}

std::set<std::string> all_orders(const Finished& run) {
  std::set<std::string> orders;
  for (const auto& [order, status] : run.skeleton.standing) orders.insert(order);
  for (const Wish& wish : run.skeleton.wishes) orders.insert(wish.order);
  return orders;
}

}  // namespace

void check_ended(const Finished& run, std::vector<std::string>& violations) {
  for (const auto& [id, entry] : run.world.log)
    if (!entry.ended()) violations.push_back("I8 " + id + " rests in " + entry.status);
}

// An order has its effects in every service, or in none, and its row says which.
void check_whole(const Finished& run, std::vector<std::string>& violations) {
  const World& world = run.world;
  for (const std::string& order : all_orders(run)) {
    const auto standing = run.skeleton.standing.find(order);
    const bool from_before = standing != run.skeleton.standing.end();
    const bool placed = from_before || completed(world, order, false);
    const bool cancelled = completed(world, order, true);
    for (const auto* effects : {&world.reservations, &world.payments, &world.shipments})
      if (stands(*effects, order) != (placed && !cancelled))
        violations.push_back("I8 " + order + " is half done");
    const auto row = world.orders.find(order);
    const std::string status = row == world.orders.end() ? std::string() : row->second.status;
    std::string expected = "FAILED";
    if (placed) expected = from_before ? standing->second : "CONFIRMED";
    if (cancelled || revoked(world, order)) expected = "CANCELLED";
    // An order whose first step never came has no row.
    if (status != expected && !(status.empty() && !placed))
      violations.push_back("I8 " + order + " is " + status + ", not " + expected);
    const bool says_why = status == "FAILED" || revoked(world, order);
    if (says_why && row->second.reason != reason_of_failure(world, order))
      violations.push_back("I10 " + order + " failed for another reason than its saga");
  }
}

void check_conserved(const Finished& run, std::vector<std::string>& violations) {
  std::int64_t available = run.skeleton.available, balance = run.skeleton.balance;
  for (const std::string& order : all_orders(run)) {
    const Size& size = run.world.size_of(order);
    const bool before = run.skeleton.standing.contains(order);
    const auto change = [before](bool stands) { return static_cast<int>(before) - stands; };
    available += change(stands(run.world.reservations, order)) * size.quantity;
    balance += change(stands(run.world.payments, order)) * size.amount;
  }
  if (run.world.available != available || available < 0)
    violations.push_back("I6 stock does not add up");
  if (run.world.balance != balance || balance < 0) violations.push_back("I6 money does not add up");
}

void check_answers(const Finished& run, std::vector<std::string>& violations) {
  for (const Reply& reply : run.replies) {
    const LogEntry& entry = run.world.log.at(reply.saga);
    if (entry.confirmed != reply.confirmed || (!reply.confirmed && entry.reason != reply.reason))
      violations.push_back("I10 told otherwise: " + reply.saga);
    if (std::ranges::count(run.replies, reply.saga, &Reply::saga) > 1)
      violations.push_back("I10 told twice: " + reply.saga);
  }
}

std::vector<std::string> check_all(const Finished& run) {
  std::vector<std::string> violations;
  for (const auto check : {check_ended, check_whole, check_conserved, check_answers})
    check(run, violations);
  return violations;
}

}  // namespace txcoord::saga_sim
