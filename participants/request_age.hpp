// How old a change may be that no fence stops: PUT and restock. A process that was stopped may send
// one days after its client gave it up. By then the client may have repeated it with its key
// elsewhere, and the key may be forgotten: it would be done twice. So it carries the time at which
// it was asked for, and the database it reaches refuses what is older than a key is kept.
#pragma once

#include <chrono>

#include "txcoord/base/time.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord {

// Keys are kept for 48 hours: an hour is left for clocks that differ.
inline constexpr std::chrono::hours request_age_max{47};

using AskedAt = std::chrono::sys_time<std::chrono::microseconds>;

// Within the change's transaction, by the database's clock; throws if it is older. What is stopped
// after this is ended by the server: idle_in_transaction_session_timeout.
void refuse_old(pg::Session& session, AskedAt asked_at);

}  // namespace txcoord
