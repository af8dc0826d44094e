// The barriers of sagas, in the services, against where the log says that each saga is (I8).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "txcoord/audit/orders_check.hpp"

namespace txcoord::audit {

// A saga that has barriers, and that the log does not know.
struct UnknownSaga {
  std::string saga_id, order_id;             // order_id empty: its barriers do not say
  std::map<std::string, std::string> steps;  // "<service>.<step>": its outcome
};

// Counts all sagas, and names those that have not ended. Returns those that the log does not know,
// at most suspects_max; the rest is counted as unsettled.
std::vector<UnknownSaga> check_sagas(Look& look, const AuditTargets& targets, AuditReport& counts,
                                     const Report& report);

}  // namespace txcoord::audit
