// The fence in a participant's PostgreSQL database: table txc_fence, on one session. These block,
// and throw what libpqxx throws.
//
// Why nothing of a fenced owner commits once a raise has returned (I1, I8, I11):
//  1. The check stands in the string that commits, and locks the owner's row FOR SHARE. A raise
//     updates that row: it waits for those that have passed the check until they have committed,
//     and those that come later find no row that is theirs. FOR KEY SHARE would not conflict with
//     the update, and a plain read would see the row as it was.
//  2. A missing row locks nothing: a check beside a raise that inserts the row would have nothing
//     to wait for. So a check that finds no row refuses too, and the row is made before the work is
//     done once more.
//  3. The check is not made at BEGIN: a client that was stopped in between would hold the row, and
//     a raise would wait for it.
// A check that finds no row divides by zero (22012): the string ends there, and nothing commits.
#pragma once

#include <exception>
#include <optional>
#include <pqxx/pqxx>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "participants/branch_logic.hpp"
#include "participants/fence.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::fence_sql {

// The last string of a transaction: the check, then COMMIT.
std::string check_and_commit(pg::Session& session, const FenceOwner& owner);
inline constexpr std::string_view refused_sqlstate{"22012"};

struct Raised {
  FenceOwner standing;   // the fence as it is now
  bool changed = false;  // by this raise
};
// Upward only, and flushed whatever the session was set to. A fence of the same epoch is raised if
// nobody's process holds it, or the one that is called `replaces`.
Raised raise(pg::Session& session, const FenceOwner& owner, const std::string& replaces);
std::vector<FenceOwner> list(pg::Session& session, const std::string& installation);

// Runs `work()` between BEGIN and the owner's check with COMMIT. Nothing: fenced, certainly not
// done. An owner that the fence does not know yet, or knows from an earlier epoch, raises it here:
// a coordinator of an earlier version raises none itself.
template <class Work>
auto transaction(pg::Session& session, const FenceOwner& owner, Work work,
                 std::string_view begin = "BEGIN") -> std::optional<decltype(work())> {
  for (int tries = 0; tries < 2; ++tries) {
    std::exception_ptr refusal;
    bool at_commit = false;
    session.exec_simple(begin);
    try {
      auto result = work();
      // A COMMIT outside of a transaction is no error: what was lost must not be called done.
      if (!session.in_transaction())
        throw std::logic_error("a transaction is gone before its COMMIT");
      at_commit = true;
      session.exec_simple(check_and_commit(session, owner));
      return result;
    } catch (const pqxx::sql_error& error) {
      if (!at_commit || error.sqlstate() != refused_sqlstate) {
        roll_back(session);
        throw;
      }
      refusal = std::current_exception();
    } catch (...) {
      roll_back(session);
      throw;
    }
    roll_back(session);
    const Raised seen = raise(session, owner, "");
    if (seen.standing != owner) return std::nullopt;
    // The fence was this owner's all the time: the division by zero is another's, in a trigger that
    // waits for the commit.
    if (!seen.changed) std::rethrow_exception(refusal);
  }
  return std::nullopt;
}

}  // namespace txcoord::fence_sql
