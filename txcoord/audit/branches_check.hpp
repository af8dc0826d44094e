// Decisions, tombstones, witnesses and prepared transactions against each other: I1, I3, I4, I7,
// I11.
#pragma once

#include "txcoord/audit/orders_check.hpp"

namespace txcoord::audit {

void check_branches(Look& look, const AuditTargets& targets, AuditReport& counts,
                    const Report& report);

}  // namespace txcoord::audit
