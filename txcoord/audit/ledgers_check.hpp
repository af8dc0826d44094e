// What one database can show by itself: conservation (I6), and the log's own books (I3, I5, I10,
// I11).
#pragma once

#include "txcoord/audit/orders_check.hpp"

namespace txcoord::audit {

void check_ledgers(Look& look, const Report& report);
void check_log(Look& look, const AuditTargets& targets, const Report& report);

}  // namespace txcoord::audit
