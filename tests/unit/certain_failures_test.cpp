// Which failures say for certain that nothing was committed: a table of SQLSTATEs. What may come
// after the commit and before its acknowledgement is unknown.
#include <catch2/catch_test_macros.hpp>
#include <pqxx/pqxx>

#include "txcoord/engine/blame.hpp"
#include "txcoord/engine/unacknowledged.hpp"
#include "txcoord/log/pg_claims_sql.hpp"
#include "txcoord/pg/classify.hpp"

using namespace txcoord;

namespace {

Failure classified(const std::string& sqlstate) {
  return pg::classify(
      std::make_exception_ptr(pqxx::sql_error("ERROR:  told to", "COMMIT", sqlstate.c_str())));
}

}  // namespace

TEST_CASE("a code that ends the session leaves the outcome unknown") {
  // idle_in_transaction_session_timeout, transaction_timeout (PostgreSQL 17), admin_shutdown,
  // crash_shutdown, idle_session_timeout, connection_failure, statement_completion_unknown.
  for (const char* code : {"25P03", "25P04", "57P01", "57P02", "57P05", "08006", "40003", ""}) {
    INFO(code);
    CHECK(classified(code).outcome_unknown);
    CHECK(log_sql::commit_failure(classified(code)).outcome_unknown);
  }
  CHECK(classified("25P04").kind == FailureKind::unavailable);
}

TEST_CASE("what a statement raises before the commit is certain") {
  for (const char* code : {"22P02", "22021", "23505", "23514", "25006", "25P02", "40001", "40P01",
                           "42501", "42704", "53100", "55P03", "55000", "P0001"}) {
    INFO(code);
    CHECK_FALSE(classified(code).outcome_unknown);
    CHECK_FALSE(log_sql::commit_failure(classified(code)).outcome_unknown);
  }
}

TEST_CASE("what may come between a commit and its acknowledgement is unknown of a commit") {
  // A cancelled wait, a PANIC, an I/O error, a code nobody knows, one that a later version adds.
  for (const char* code : {"57014", "XX000", "58030", "25P05", "25XXX", "99999"}) {
    INFO(code);
    CHECK(log_sql::commit_failure(classified(code)).outcome_unknown);
  }
}

TEST_CASE("a certain code that came with the end of the session stays unknown") {
  for (const char* code : {"53100", "40001", "25006"}) {
    Failure failure = classified(code);
    failure.outcome_unknown = true;  // as the pool marks it
    CHECK(log_sql::commit_failure(failure).outcome_unknown);
  }
}

TEST_CASE("only the fence's own code means fenced") {
  CHECK(log_sql::commit_failure(classified("22012")).kind == FailureKind::fenced);
  CHECK_FALSE(log_sql::commit_failure(classified("22012")).outcome_unknown);
}

TEST_CASE("a write that may stand stays so, whatever later tries say, until it is read") {
  using engine::Unacknowledged;
  const Failure unknown{FailureKind::unavailable, true, "", ""};
  const Failure certain{FailureKind::poison, false, "22P02", ""};
  Unacknowledged write;
  CHECK_FALSE(write.failed(certain).outcome_unknown);
  CHECK(write.failed(unknown).outcome_unknown);
  CHECK(write.failed(certain).outcome_unknown);
  CHECK(write.failed(certain).kind == FailureKind::poison);
  CHECK(write.may_stand());
  write.settled();
  CHECK_FALSE(write.failed(certain).outcome_unknown);
  write.presume();
  CHECK(write.failed(certain).outcome_unknown);
}

TEST_CASE("a batch is taken apart where one of it may be the cause, not where the log is away") {
  using engine::may_lie_with_one;
  for (const char* code : {"22P02", "22021", "23514", "P0001", "55P03", "40P01", "57014", "XX000"})
    CHECK(may_lie_with_one(classified(code)));
  for (const char* code : {"57P01", "08006", "53300", "25006"})
    CHECK_FALSE(may_lie_with_one(classified(code)));
  CHECK_FALSE(may_lie_with_one({FailureKind::timeout, true, "", "deadline: cut"}));
}
