// A place in a transaction where it stands until the test lets it go on.
#pragma once

#include <boost/asio/io_context.hpp>
#include <exception>
#include <stdexcept>
#include <string>

#include "tests/pg/service_database.hpp"

namespace txcoord::test {

// Drives what was started until a backend of the database meets the condition on pg_stat_activity;
// its pid. Throws after ten seconds.
inline int drive_until(boost::asio::io_context& io, ServiceDatabase& database,
                       const std::string& condition) {
  const std::string query =
      "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND (" + condition +
      ") LIMIT 1";
  for (const auto end = Clock::now() + 10s; Clock::now() < end; drive(io, 5ms)) {
    const std::string pid = database.value(query);
    if (!pid.empty()) return std::stoi(pid);
  }
  throw std::runtime_error("no backend came to: " + condition);
}

// Whoever inserts into the table stands at the gate, with all its locks, until the gate is open.
// Standing is no wait for a lock: a step skips rows that somebody else holds, and lock_timeout soon
// ends every other wait of it. The statement and the caller's deadline end the stand after seconds.
class Gate {
 public:
  enum class At {
    work,    // in the statement that inserts, after all its changes
    commit,  // in COMMIT, which may still fail
  };

  Gate(ServiceDatabase& database, const std::string& table, At at) : database_(database), at_(at) {
    const bool commit = at == At::commit;
    // Each look is a statement of its own, and so has a snapshot of its own.
    database_.run(
        "CREATE TABLE gate (open boolean NOT NULL); INSERT INTO gate VALUES (false);"
        "CREATE FUNCTION stand_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "WHILE NOT (SELECT open FROM gate) LOOP PERFORM pg_sleep(0.005); END LOOP; "
        "RETURN NULL; END $$;"
        "CREATE " +
        std::string(commit ? "CONSTRAINT " : "") + "TRIGGER gate AFTER INSERT ON " + table +
        (commit ? " DEFERRABLE INITIALLY DEFERRED" : "") +
        " FOR EACH ROW EXECUTE FUNCTION stand_at_gate()");
  }
  ~Gate() {
    try {  // what a failed test left standing
      open();
    } catch (const std::exception&) {  // the server may be down by the test's own doing
    }
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // Until somebody stands there; its pid.
  int reached(boost::asio::io_context& io) {
    // The fence check and COMMIT are one string.
    const char* const query =
        at_ == At::commit ? "query LIKE '%COMMIT'" : "query NOT LIKE '%COMMIT'";
    return drive_until(io, database_, std::string("wait_event = 'PgSleep' AND ") + query);
  }
  void open() { database_.run("UPDATE gate SET open = true"); }

 private:
  ServiceDatabase& database_;
  At at_;
};

}  // namespace txcoord::test
