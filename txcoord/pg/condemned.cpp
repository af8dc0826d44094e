// See condemned.hpp. What ends a session by itself (class 08, 57P01, 25P03, …) is not here: libpq
// tells that its connection is gone.
#include "txcoord/pg/condemned.hpp"

#include <algorithm>
#include <array>

namespace txcoord::pg {
namespace {

struct Entry {
  std::string_view sqlstate;
  Condemned condemned;
};

constexpr std::array<Entry, 19> entries{{
    // "cached plan must not change result type": a column's type was changed under a statement
    // that each session has prepared.
    {"0A000", Condemned::pool},
    // Read-only: the session carries a default of its time, or its server is a standby by now.
    // A new connection follows target_session_attrs.
    {"25006", Condemned::pool},
    // Not in the transaction, or not out of it, as we believe: what was left over is not known.
    {"25001", Condemned::session},
    {"25P01", Condemned::session},
    {"25P02", Condemned::session},
    {"2D000", Condemned::session},
    // A prepared statement that is missing, or there already: somebody in between (DISCARD ALL, a
    // pooler) has changed what the session holds.
    {"26000", Condemned::session},
    {"42P05", Condemned::session},
    {"34000", Condemned::session},
    // What the statement names is not there: a schema was swapped, or the role's path or rights
    // were changed after the session began.
    {"3F000", Condemned::pool},
    {"42501", Condemned::pool},
    {"42703", Condemned::pool},
    {"42883", Condemned::pool},
    {"42P01", Condemned::pool},
    // The role or its database is not what it was.
    {"0P000", Condemned::pool},
    {"28000", Condemned::pool},
    {"3D000", Condemned::pool},
    // The server contradicts itself ("cache lookup failed"): its cache goes with the session.
    {"XX000", Condemned::session},
    {"XX001", Condemned::session},
}};

}  // namespace

Condemned condemned_by(std::string_view sqlstate) {
  const auto* const found = std::ranges::find(entries, sqlstate, &Entry::sqlstate);
  return found == entries.end() ? Condemned::nothing : found->condemned;
}

}  // namespace txcoord::pg
