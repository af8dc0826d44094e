// Sagas from the services' side (I8): what was done for one that the log does not know.
#pragma once

#include <vector>

#include "txcoord/audit/sagas_check.hpp"

namespace txcoord::audit {

// Names those that the log shows as needing a person, and reports the others of which something
// stands half done. Those that ended leave their barriers behind for a while, and nothing else.
void check_lost_sagas(Look& look, const std::vector<UnknownSaga>& unknown,
                      const AuditTargets& targets, AuditReport& counts, const Report& report);

}  // namespace txcoord::audit
