// Coordinators in the log: their epochs, their leases, and taking one over. Who may be taken over
// is judged in engine/leases.hpp; here stands what makes that judgement hold.
#include <stdexcept>

#include "txcoord/base/logging.hpp"
#include "txcoord/log/pg_transaction_log_sql.hpp"
#include "txcoord/pg/classify.hpp"

namespace txcoord::log_sql {
namespace {

using pg::Session;
using pg::Statement;

// expires_at by the log's clock is for older coordinators, who judge by it alone, and for people.
// `renewals` grows with each of the statements below, so no pair of the two ever comes back.

// The lease before the epoch, as in take_over below: two that meet here cannot deadlock.
constexpr Statement raise_own_epoch{"log_raise_own_epoch", R"(
WITH lease AS (
  INSERT INTO coordinator_lease AS l (id, expires_at, renewals, lease_ms)
  VALUES ($1, clock_timestamp() + $2::bigint * interval '1 millisecond', 1, $2::bigint)
  ON CONFLICT (id) DO UPDATE SET expires_at = EXCLUDED.expires_at, renewals = l.renewals + 1,
                                 ended_at = NULL, lease_ms = EXCLUDED.lease_ms
  RETURNING id)
INSERT INTO coordinator_epoch AS e (id, epoch) SELECT id, $3::bigint + 1 FROM lease
ON CONFLICT (id) DO UPDATE SET epoch = greatest(e.epoch, $3::bigint) + 1
RETURNING epoch)"};

constexpr Statement renew{"log_renew_lease", R"(
UPDATE coordinator_lease
SET expires_at = clock_timestamp() + $2::bigint * interval '1 millisecond',
    renewals = renewals + 1, ended_at = NULL, lease_ms = $2::bigint
WHERE id = $1)"};

// now(), so that both are the same.
constexpr Statement give_up{"log_end_lease", R"(
UPDATE coordinator_lease SET expires_at = now(), ended_at = now(), renewals = renewals + 1
WHERE id = $1)"};

#define TXC_MICROSECONDS(column) "(extract(epoch FROM " column ") * 1000000)::bigint"

// A coordinator without a lease row never started by this program: nothing can be seen of it.
constexpr Statement read_coordinators{
    "log_read_coordinators",
    "SELECT e.id, e.epoch, coalesce(l.renewals, 0),"
    " coalesce(" TXC_MICROSECONDS("l.expires_at") ", 0),"
    " coalesce(l.ended_at = l.expires_at, false), coalesce(l.lease_ms, 0)"
    " FROM coordinator_epoch e LEFT JOIN coordinator_lease l ON l.id = e.id"};

// Compare and set. Locks the lease first: a renewal under way is waited for, and then the condition
// is judged again on the renewed row; a renewal that comes later finds the epoch raised. In the log
// that was watched, and in no other: one that a failover put in its place was seen by nobody.
constexpr Statement take_over_one{
    "log_take_over",
    "WITH silent AS ("
    "  SELECT l.id FROM coordinator_lease l JOIN coordinator_epoch e USING (id)"
    "  WHERE l.id = $1 AND l.renewals = $2::bigint"
    "    AND " TXC_MICROSECONDS("l.expires_at") " = $3::bigint AND e.epoch = $4::bigint"
    "    AND (SELECT system_identifier::text FROM pg_control_system()) = $5::text"
    "    AND ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::integer"
    "        = $6::bigint"
    "  FOR UPDATE OF l), "
    "noted AS ("
    "  UPDATE coordinator_lease l SET renewals = l.renewals + 1 FROM silent WHERE l.id = silent.id) "
    "UPDATE coordinator_epoch e SET epoch = e.epoch + 1 FROM silent"
    " WHERE e.id = silent.id AND e.epoch = $4::bigint"};

}  // namespace

std::uint64_t raise_epoch(Session& session, const std::string& coordinator, std::uint64_t above,
                          milliseconds lease) {
  return session.exec(raise_own_epoch, coordinator, lease.count(), above)
      .at(0)
      .at(0)
      .as<std::uint64_t>();
}

LeaseRound renew_lease(Session& session, const std::string& coordinator, milliseconds lease) {
  if (session.exec(renew, coordinator, lease.count()).affected_rows() == 0)
    throw std::logic_error("renew_lease: this coordinator never raised its epoch");
  LeaseRound round;
  round.log = identity(session);
  round.coordinators = coordinators(session);
  return round;
}

Done end_lease(Session& session, const std::string& coordinator) {
  session.exec(give_up, coordinator);
  return {};
}

Coordinators coordinators(Session& session) {
  Coordinators result;
  for (const auto& row : session.exec(read_coordinators))
    result[row.at(0).as<std::string>()] = {
        row.at(1).as<std::uint64_t>(), row.at(2).as<std::uint64_t>(), row.at(3).as<std::int64_t>(),
        row.at(4).as<bool>(), row.at(5).as<std::int64_t>()};
  return result;
}

std::vector<std::string> take_over(Session& session, const std::vector<LeaseClaim>& claims) {
  std::vector<std::string> taken;
  for (const LeaseClaim& claim : claims) {
    try {
      const pqxx::result done = session.exec(take_over_one, claim.coordinator, claim.seen.renewals,
                                             claim.seen.expires_at_us, claim.seen.epoch,
                                             claim.log.system_identifier, claim.log.timeline);
      if (done.affected_rows() == 1) taken.push_back(claim.coordinator);
    } catch (const pqxx::sql_error& error) {
      // A decider of its that hangs holds the epoch row; the next round tries again. One that
      // cannot be taken over yet must not keep the others from it.
      if (error.sqlstate() != std::string_view("55P03")) throw;
      logging::warn("take-over waits for a decision in flight",
                    {{"coordinator", std::string_view(claim.coordinator)}});
    }
  }
  return taken;
}

}  // namespace txcoord::log_sql
