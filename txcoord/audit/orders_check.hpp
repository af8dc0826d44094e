// Compares all five databases order by order, in one pass over sorted streams.
//
// Why movement is never taken for a violation:
//   1. The log is read twice: its first snapshot is taken before those of the four services, its
//      second after them.
//   2. A decision is marked complete only after every COMMIT PREPARED was acknowledged. So what is
//      complete in the first reading is visible in every service.
//   3. A COMMIT PREPARED is sent only after its decision was acknowledged (I4). So what is visible
//      in a service is visible in the second reading.
//      A saga is in the log before its first step, and has ended there only after its last: so what
//      is open in neither reading, and in both, did nothing in between.
//   4. Hence, if both readings say the same about an order and nothing of it is incomplete or open,
//      the services were read while nothing happened to it: what looks wrong then is wrong.
//   5. An order that looks wrong and does not pass (4) is read again, with new snapshots, until it
//      does. One that never does within the patience given is counted, not judged.
//   6. An order that the log does not know (another installation's, or older than the keys kept)
//      can move unseen: it must look wrong in the same way for orphan_age_max, the time in which
//      whoever works on it has to be done (I7).
//   7. Of an order whose saga is open, only the saga is judged (I8): is anybody at work on it,
//      or is it shown as stuck? One that stands still must do so for saga_silence_max before our
//      eyes.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "txcoord/audit/audit.hpp"
#include "txcoord/audit/order_facts.hpp"
#include "txcoord/audit/snapshot.hpp"

namespace txcoord::audit {

// One look at all databases. The order of the members is the order of the snapshots: rule 1.
struct Look {
  explicit Look(const AuditTargets& targets);
  Snapshot log_before;
  Snapshot order, inventory, payment, shipping;
  Snapshot log_after;
};

using Report = std::function<void(Violation)>;

// What the log knows at all, and whether another installation works on the services' databases.
LogScope read_log_scope(Look& look);

// One pass; `only` empty: all orders. Hands every order's facts to `each`, by order_id.
void read_orders(Look& look, const AuditTargets& targets, const std::vector<std::string>& only,
                 const std::function<void(const OrderFacts&)>& each);

// An order that looks wrong and may be moving, as it was first seen like this.
struct Suspect {
  OrderFacts facts;
  std::chrono::steady_clock::time_point since;
};
using Suspects = std::map<std::string, Suspect>;  // by order_id

// All orders: judges those at rest, returns the suspects (at most suspects_max; the rest is counted
// as unsettled).
Suspects check_orders(Look& look, const AuditTargets& targets, AuditReport& counts,
                      const Report& report);
// Looks again until none is left, or the patience has run out.
void settle_suspects(Suspects suspects, const AuditTargets& targets, AuditReport& counts,
                     const Report& report);

}  // namespace txcoord::audit
