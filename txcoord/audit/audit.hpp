// `txcoord audit`: reads all five databases from outside and tests the invariants that data can
// show. It knows the tables, not the code that writes them, and only reads.
//
// What it tests:  I1 atomic · I2 durable · I3 one decision · I4 nothing without a decision · I5
// once
//                 I6 conservation · I7 no orphan · I8 every saga ends · I9 no operation judged on
//                 unapplied state · I10 an answer is never contradicted · I11 fenced is fenced
// I4's order in time, and what was trimmed, data cannot show: the tests of I1, I3, I4 run with
// trimming off.
//
// The databases have no common snapshot, so what moves while they are read must not be taken for a
// violation. See orders_check.hpp for how that is made certain, and not merely unlikely.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace txcoord {

struct Settings;

}  // namespace txcoord

namespace txcoord::audit {

struct AuditTargets {
  std::string order, inventory, payment, shipping, log;  // libpq connection strings: never logged
  // False when the coordinator runs with trim = false: then a missing witness, and a witness
  // without a decision, are evidence.
  bool trimming = true;
  std::chrono::milliseconds orphan_age_max{5000};  // I7
  // I8: an open saga that nobody moves for so long is forgotten. Above a step's own deadlines.
  std::chrono::milliseconds saga_silence_max{10000};
  // As the coordinator is set: barriers of sagas that ended longer ago are being trimmed.
  std::chrono::seconds barriers_keep{600};
  std::size_t violations_max = 1000;          // kept; the rest is counted
  std::size_t suspects_max = 20000;           // orders looked at again because they moved
  std::chrono::milliseconds patience{15000};  // for moving orders to come to rest
};

struct Violation {
  std::string invariant;  // "I1" … "I11"
  std::string check;      // a stable name: payment_missing, stock_not_conserved, …
  std::string subject;    // order_id, gid, saga_id, SKU, customer id, or scope of a key
  std::string found;      // for people: what was found where, and what was expected
};

struct LostSagaSeen {
  std::string saga_id, order_id;
  std::string at_risk;  // for people
};

struct AuditReport {
  std::vector<Violation> violations;
  std::uint64_t violations_total = 0;
  std::uint64_t orders = 0;      // orders seen in any of the databases
  std::uint64_t operations = 0;  // outcomes in the log
  std::uint64_t gids = 0;        // decisions, tombstones, witnesses
  std::uint64_t prepared = 0;    // branches of ours found prepared, of any age
  // Branches shown as needing a person, and those that nobody has repaired: what they broke is
  // above.
  std::uint64_t heuristics = 0, heuristics_open = 0;
  std::uint64_t looked_again = 0;             // orders that may have moved while they were read
  std::uint64_t unsettled = 0;                // … and never came to rest: not judged
  std::vector<std::string> unsettled_orders;  // of these, at most violations_max
  std::uint64_t sagas = 0;
  // Not ended: somebody is at work on it, or it is shown as needing a person. At most
  // violations_max are named.
  std::uint64_t sagas_running_total = 0, sagas_stuck_total = 0;
  std::vector<std::string> sagas_running, sagas_stuck;
  // Found in the services, forgotten by the log, and shown there as needing a person.
  std::uint64_t sagas_lost_total = 0;
  std::vector<LostSagaSeen> sagas_lost;
  bool clean() const { return violations_total == 0; }
};

// Blocks; reads each database in REPEATABLE READ READ ONLY transactions of its own. Throws
// std::exception, whose text names the database, when one cannot be read.
AuditReport audit(const AuditTargets& targets);

// What to do about a violation of this check: a page of docs/operating.md, and the first thing
// there.
std::string_view next_step(std::string_view check);

std::string to_json(const AuditReport& report);
std::string to_text(const AuditReport& report);

// The command: writes the report, or why there is none. Returns the exit code: 0 clean,
// 1 violations, 2 a database could not be read, or orders never came to rest and were not judged.
int run_audit(const Settings& settings, bool json, std::ostream& out);

}  // namespace txcoord::audit
