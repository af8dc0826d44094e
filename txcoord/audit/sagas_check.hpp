// The barriers of sagas, in the services, against where the log says that each saga is (I8).
#pragma once

#include "txcoord/audit/orders_check.hpp"

namespace txcoord::audit {

// Counts all sagas, and names those that have not ended.
void check_sagas(Look& look, const AuditTargets& targets, AuditReport& counts,
                 const Report& report);

}  // namespace txcoord::audit
