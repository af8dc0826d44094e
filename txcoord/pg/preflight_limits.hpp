// Where a database really is, and the limits that it shares with others of ours: a part of
// preflight.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "txcoord/pg/preflight.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::pg {

// Recovery and a second coordinator need slots too.
inline constexpr std::uint32_t spare_slots = 8;
// For `migrate`, `audit` and `config --check` while the process runs.
inline constexpr std::size_t spare_sessions = 3;

struct Place {
  std::string server, database, schema, role;
  bool superuser = false;         // whom no limit of a role or database holds
  std::int64_t server_limit = 0;  // what max_connections leaves for plain roles
  std::int64_t role_limit = -1;   // CONNECTION LIMIT; -1: none
  std::int64_t database_limit = -1;
  std::int64_t max_connections = 0, slots = 0;

  std::string schema_id() const { return server + '/' + database + '/' + schema; }
};

Place read_place(Session& session);  // throws what exec() throws

struct Located {
  std::string name;
  Place place;
  std::uint32_t prepared_slots = 0;
  std::size_t sessions_max = 0;
};

// That the sessions of all databases fit into each limit that they share.
void check_limits(const std::vector<Located>& located, PreflightReport& report);

}  // namespace txcoord::pg
