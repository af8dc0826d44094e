// SQLSTATE to FailureKind, and which of libpqxx's exceptions leave the outcome unknown.
#include "txcoord/pg/classify.hpp"

#include <new>
#include <pqxx/pqxx>
#include <string>
#include <string_view>

#include "txcoord/pg/session.hpp"

namespace txcoord::pg {
namespace {

constexpr std::size_t message_bytes_max = 300;

// The first line of a server's message: DETAIL and CONTEXT lines quote rows, which may be personal
// data. In class 22 the line itself ends with the value that was refused.
std::string safe_message(std::string_view text, std::string_view sqlstate) {
  text = text.substr(0, text.find('\n'));
  // Somebody's trigger or check option: its words are about a row.
  if (sqlstate.starts_with("P0") || sqlstate.starts_with("44"))
    return "an exception raised in the database; its words stand in the server's log";
  if (sqlstate.starts_with("22")) {
    const std::size_t after_severity = text.starts_with("ERROR:  ") ? 8 : 0;
    text = text.substr(0, text.find(": ", after_severity));
    text = text.substr(0, text.find('"'));
  }
  return std::string(text.substr(0, message_bytes_max));
}

FailureKind kind_of(std::string_view sqlstate) {
  if (sqlstate == "57014") return FailureKind::timeout;
  if (sqlstate == "55P03") return FailureKind::lock_timeout;
  // 40001 cannot come at READ COMMITTED; if it does, the whole may be tried again as well.
  if (sqlstate == "40P01" || sqlstate == "40001") return FailureKind::deadlock;
  if (sqlstate == "42704") return FailureKind::not_found;
  if (sqlstate == "55000") return FailureKind::busy;
  // 25006: a standby answered, or the server was made read-only. Nothing is wrong with the work.
  // 25P03, 25P04: our session was idle in its transaction, or in one at all, for too long and is
  // gone.
  if (sqlstate == "25006" || sqlstate == "25P03" || sqlstate == "25P04")
    return FailureKind::unavailable;
  const std::string_view group = sqlstate.substr(0, 2);
  // Values that no server takes (22, 23), an exception that somebody's trigger or check option
  // raises (P0, 44), a row too large for its index (54): one of the operations causes it, whoever
  // comes with it is innocent.
  for (const char* of_one_operation : {"22", "23", "44", "54", "P0"})
    if (group == of_one_operation) return FailureKind::poison;
  if (group == "08" || group == "53" || sqlstate.starts_with("57P"))
    return FailureKind::unavailable;
  return FailureKind::error;
}

// An ERROR ends its statement without effect. These end the session (FATAL), and a backend that is
// told to die may have committed just before: its acknowledgement went with it.
// What else ends a session (a PANIC may carry any code) is seen by the session: pool.hpp.
bool fatal(std::string_view sqlstate) {
  return sqlstate.starts_with("57P") || sqlstate.starts_with("08") || sqlstate == "25P03" ||
         sqlstate == "25P04";
}

Failure from_sql_error(const pqxx::sql_error& error) {
  std::string sqlstate(error.sqlstate());
  // libpqxx drops the code of this one.
  if (sqlstate.empty() && dynamic_cast<const pqxx::insufficient_privilege*>(&error) != nullptr)
    sqlstate = "42501";
  // 40003: the server itself does not know whether the statement completed.
  const bool unknown = fatal(sqlstate) || sqlstate == "40003" || sqlstate.empty();
  return {kind_of(sqlstate), unknown, sqlstate, safe_message(error.what(), sqlstate)};
}

}  // namespace

Failure classify(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const ConnectFailure& e) {
    // Nothing was sent: may always be tried again.
    return {FailureKind::unavailable, false, e.sqlstate(), safe_message(e.what(), "")};
  } catch (const pqxx::sql_error& e) {
    return from_sql_error(e);
  } catch (const pqxx::too_many_connections& e) {
    return {FailureKind::unavailable, false, "53300", safe_message(e.what(), "")};
  } catch (const pqxx::broken_connection& e) {
    // Never retried blindly: the statement may have taken effect, or may still.
    return {FailureKind::unavailable, true, "", safe_message(e.what(), "")};
  } catch (const pqxx::in_doubt_error& e) {
    return {FailureKind::unavailable, true, "", safe_message(e.what(), "")};
  } catch (const pqxx::usage_error& e) {
    return {FailureKind::error, false, "", safe_message(e.what(), "")};
  } catch (const std::bad_alloc&) {
    return {FailureKind::error, true, "", "out of memory"};
  } catch (const std::exception& e) {
    // Not from the server: a defect, maybe in reading the result of a statement that did its
    // work.
    return {FailureKind::error, true, "", safe_message(e.what(), "22")};
  } catch (...) {
    return {FailureKind::error, true, "", "an exception that is no std::exception"};
  }
}

}  // namespace txcoord::pg
