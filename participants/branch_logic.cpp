// The defaults and small helpers that every service's branch logic shares.
#include "participants/branch_logic.hpp"

#include <stdexcept>
#include <utility>

#include "txcoord/base/time.hpp"

namespace txcoord {

asio::awaitable<Result<PreliminaryPtr>> BranchLogic::before_vote(
    protocol::Gid, Operations, std::chrono::steady_clock::time_point) const {
  co_return PreliminaryPtr{};
}

std::unique_ptr<LockedRows> BranchLogic::without_locks(const Operations&) const { return nullptr; }

std::string begin_bounded() {
  return "BEGIN; SET LOCAL lock_timeout = " + std::to_string(contended_wait_max.count());
}

void roll_back(pg::Session& session) noexcept {
  try {
    if (session.in_transaction()) session.exec_simple("ROLLBACK");
  } catch (...) {
    // The connection is gone or the server did not answer. Nothing is lost by staying silent: the
    // transaction is still open as far as the pool can tell, so it closes this session, and the
    // server rolls back what a closed session left open.
  }
}

void expect_count(std::size_t found, std::size_t expected, const char* statement) {
  if (found == expected) return;
  throw std::logic_error(std::string(statement) + ": " + std::to_string(found) +
                         " rows, expected " + std::to_string(expected));
}

void expect_rows(const pqxx::result& result, std::size_t expected, const char* statement) {
  expect_count(static_cast<std::size_t>(result.affected_rows()), expected, statement);
}

UtcTime time_of(const pqxx::field& field) {
  const auto time = parse_time(field.view());
  if (!time) throw std::runtime_error(std::string("not a time in column ") + field.name());
  return *time;
}

}  // namespace txcoord
