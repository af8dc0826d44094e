// What each session asks its server for at connect; preflight.cpp looks whether a pooler in between
// dropped it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "txcoord/pg/session.hpp"

namespace txcoord::pg {

// By PostgreSQL's names, in PostgreSQL's units; times are milliseconds.
std::vector<std::pair<std::string, std::string>> session_parameters(
    const SessionSettings& settings);

}  // namespace txcoord::pg
