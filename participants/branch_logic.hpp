// What a service adds to the generic PostgreSQL participant (pg_participant.hpp): which rows a
// group locks, how its operations are judged from them, and how the survivors are applied.
//
// Rules for an implementation:
//  - lock() takes every lock that apply() will need: parent rows in immutable key order, FOR NO KEY
//    UPDATE, then the children that will change, in the NEXT statement (a subselect beside the lock
//    is stale). apply() may wait for no lock that the vote did not take: no foreign keys to rows
//    not locked, unique ids made by us.
//  - A row that somebody else holds stays with the operations that need it. Under LockMode::skip a
//    held row comes back as no row, exactly like one that does not exist: whether it exists is read
//    afterwards without a lock. There and not locked is vote_busy(), never a refusal (I10).
//  - A later operation counts what an earlier candidate with yes takes, never what it gives back.
//  - A missing row of an order that another service may already call confirmed is
//    Answer::retry, recorded nowhere (I9); a state that can never allow it is a final no.
//  - Never log an address, a token or a name.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "participants/locked_rows.hpp"
#include "participants/operation.hpp"
#include "participants/participant.hpp"
#include "txcoord/base/failure.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord {

// What before_vote() learnt, handed to lock(): a service's own type behind it.
class Preliminary {
 public:
  virtual ~Preliminary() = default;
};
using PreliminaryPtr = std::shared_ptr<const Preliminary>;

class BranchLogic {
 public:
  virtual ~BranchLogic() = default;
  virtual std::string_view name() const = 0;  // order, inventory, payment, shipping
  virtual bool touches(const Operation& operation) const = 0;

  // On the I/O thread, before BEGIN, while this branch holds no lock: work with a third party that
  // cannot PREPARE (a card processor). Ends before `until`, which is the vote's deadline. Its
  // failure is the vote's failure. Default: nothing.
  virtual asio::awaitable<Result<PreliminaryPtr>> before_vote(
      protocol::Gid gid, Operations operations, std::chrono::steady_clock::time_point until) const;

  // If the group can be judged without a row of the database, the judge; else nullptr, and lock()
  // is called. Without locks the vote costs no round trip and holds no session: BEGIN is sent with
  // the prepare.
  virtual std::unique_ptr<LockedRows> without_locks(const Operations& operations) const;

  // Inside the branch's transaction, on a worker thread; blocks. Throws what libpqxx throws.
  // With LockMode::wait the caller has bounded the wait (lock_timeout), and calls again with skip
  // when it ran out (55P03).
  virtual std::unique_ptr<LockedRows> lock(pg::Session& session, const Operations& operations,
                                           const PreliminaryPtr& preliminary,
                                           LockMode mode) const = 0;

  // Inside the branch's transaction, on a worker thread: writes the survivors set-wise, a few
  // statements for the group. `gid` is the global transaction's, as text (orders.transaction_id).
  // The witness and PREPARE are the caller's. Throws on a row count it did not expect: a branch
  // that is not what was judged is never prepared (I1).
  virtual void apply(pg::Session& session, const Operations& operations,
                     const OperationMask& survivors, const LockedRows& rows,
                     const std::string& gid) const = 0;
};

// BEGIN for a branch or a step: no lock is waited for longer than contended_wait_max, neither the
// rows under LockMode::wait nor what apply() should never have to wait for.
std::string begin_bounded();

// Runs `work(mode)`; when a lock was waited for too long under LockMode::wait, once more with skip.
// `work` leaves no transaction open when it throws.
template <class Work>
auto with_lock_mode(LockMode mode, Work work) {
  if (mode == LockMode::wait) {
    try {
      return work(LockMode::wait);
    } catch (const pqxx::sql_error& error) {
      if (error.sqlstate() != std::string_view("55P03")) throw;
    }
  }
  return work(LockMode::skip);
}

// ROLLBACK if a transaction is open; never throws: a session that cannot is closed by its pool.
void roll_back(pg::Session& session) noexcept;

// Throw std::logic_error that names the statement: see apply(). expect_rows() takes the rows that a
// statement changed or returned; expect_count() what the statement itself counted.
void expect_count(std::size_t found, std::size_t expected, const char* statement);
void expect_rows(const pqxx::result& result, std::size_t expected, const char* statement);

// A timestamptz column (sessions run with TimeZone=UTC); throws std::runtime_error on nonsense.
UtcTime time_of(const pqxx::field& field);

// Runs `work()` between BEGIN and COMMIT; on an exception rolls back (if the server still listens)
// and lets it pass. For changes that touch one database: PUT, restock, settlement.
template <class Work>
auto in_local_transaction(pg::Session& session, Work work) {
  session.exec_simple("BEGIN");
  try {
    auto result = work();
    session.exec_simple("COMMIT");
    return result;
  } catch (...) {
    roll_back(session);
    throw;
  }
}

}  // namespace txcoord
