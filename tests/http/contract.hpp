// Holds replies against the route table and its schemas: what /openapi.json promises is what is
// sent.
#pragma once

#include <string_view>

#include "tests/http/test_server.hpp"
#include "txcoord/http/routes.hpp"

namespace txcoord::testing {

// The reply's status is declared for the route, and its body keeps to the schema declared for it.
void check_contract(std::string_view method, std::string_view path_template,
                    const Response& response,
                    const http::RouteSet& routes = http::coordinator_routes());

// A well-formed problem with this reason.
void check_problem(const Response& response, std::string_view reason, bool retryable);

}  // namespace txcoord::testing
