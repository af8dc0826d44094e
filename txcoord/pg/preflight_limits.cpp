// See preflight_limits.hpp.
#include "txcoord/pg/preflight_limits.hpp"

#include <functional>
#include <map>

namespace txcoord::pg {
namespace {

// Sent as it is, without a prepared statement: what is in between may be a pooler that shares
// backends.
constexpr const char* read_limits = R"(
  SELECT (SELECT system_identifier FROM pg_control_system())::text, current_database()::text,
         coalesce(current_schema(), '')::text, session_user::text, r.rolsuper, r.rolconnlimit::int8,
         d.datconnlimit::int8, current_setting('max_connections')::int8,
         current_setting('superuser_reserved_connections')::int8 +
         coalesce(current_setting('reserved_connections', true), '0')::int8,
         current_setting('max_prepared_transactions')::int8
    FROM pg_roles r, pg_database d
   WHERE r.rolname = session_user AND d.datname = current_database())";

struct Sum {
  std::string names;
  std::size_t count = 0, sessions = 0;
  std::uint64_t slots = 0;
  Place place;
};

using Key = std::function<std::string(const Place&)>;

std::map<std::string, Sum> sums(const std::vector<Located>& located, const Key& key) {
  std::map<std::string, Sum> result;
  for (const Located& one : located) {
    Sum& sum = result[key(one.place)];
    sum.names += (sum.names.empty() ? "" : ", ") + one.name;
    ++sum.count;
    sum.sessions += one.sessions_max;
    sum.slots += one.prepared_slots;
    sum.place = one.place;
  }
  return result;
}

std::string needs(const Sum& sum) {
  return std::to_string(sum.sessions + spare_sessions) + " sessions (" +
         std::to_string(sum.sessions) + " of ours, " + std::to_string(spare_sessions) +
         " for commands)";
}

std::string lower_what(const Sum& sum) {
  return sum.count > 1 ? ", or lower their connections_max" : ", or lower its connections_max";
}

bool too_small(std::int64_t limit, const Sum& sum) {
  return limit >= 0 && static_cast<std::size_t>(limit) < sum.sessions + spare_sessions;
}

}  // namespace

Place read_place(Session& session) {
  const pqxx::result result = session.exec_simple(read_limits);
  const auto row = result.at(0);
  Place place;
  place.server = row[0].as<std::string>();
  place.database = row[1].as<std::string>();
  place.schema = row[2].as<std::string>();
  place.role = row[3].as<std::string>();
  place.superuser = row[4].as<bool>();
  place.role_limit = row[5].as<std::int64_t>();
  place.database_limit = row[6].as<std::int64_t>();
  place.max_connections = row[7].as<std::int64_t>();
  place.server_limit = place.max_connections - (place.superuser ? 0 : row[8].as<std::int64_t>());
  place.slots = row[9].as<std::int64_t>();
  return place;
}

void check_limits(const std::vector<Located>& located, PreflightReport& report) {
  const std::size_t before = report.refusals.size();
  for (const auto& [id, sum] : sums(located, [](const Place& place) { return place.server; })) {
    const Place& place = sum.place;
    if (too_small(place.server_limit, sum)) {
      const std::int64_t reserved = place.max_connections - place.server_limit;
      report.refusals.push_back(
          sum.names + ": max_connections is " + std::to_string(place.max_connections) + ", with " +
          std::to_string(reserved) + " reserved, and we need " + needs(sum) +
          ": set max_connections = " +
          std::to_string(sum.sessions + spare_sessions + static_cast<std::size_t>(reserved)) +
          " or more" + lower_what(sum));
    }
    if (sum.count > 1 && sum.slots > 0 &&
        place.slots < static_cast<std::int64_t>(sum.slots + spare_slots))
      report.warnings.push_back(
          sum.names + ": they share a server whose max_prepared_transactions is " +
          std::to_string(place.slots) + ": under load it needs " +
          std::to_string(sum.slots + spare_slots) + ", engine.unfinished_groups_max for each");
  }
  const auto role_of = [](const Place& place) { return place.server + '/' + place.role; };
  for (const auto& [id, sum] : sums(located, role_of))
    if (!sum.place.superuser && too_small(sum.place.role_limit, sum))
      report.refusals.push_back(sum.names + ": the role's CONNECTION LIMIT is " +
                                std::to_string(sum.place.role_limit) + ", and we need " +
                                needs(sum) + ": raise it with ALTER ROLE" + lower_what(sum));
  const auto database_of = [](const Place& place) { return place.server + '/' + place.database; };
  for (const auto& [id, sum] : sums(located, database_of))
    if (!sum.place.superuser && too_small(sum.place.database_limit, sum))
      report.refusals.push_back(sum.names + ": the database's CONNECTION LIMIT is " +
                                std::to_string(sum.place.database_limit) + ", and we need " +
                                needs(sum) + ": raise it with ALTER DATABASE" + lower_what(sum));
  if (!located.empty() && report.refusals.size() == before)
    report.good.push_back("the limits of connections");
}

}  // namespace txcoord::pg
