// /openapi.json (3.1), written from the routes that a server serves and their schemas.
#pragma once

#include <string>

#include "txcoord/http/routes.hpp"

namespace txcoord::http {

struct OpenApiOptions {
  std::string title = "txcoord";
  std::string note = {};   // after the common description
  bool token = false;      // what reads or changes a service's data needs a bearer token
  Port port = Port::open;  // whose routes it tells
};

std::string openapi_document(const RouteSet& routes, const OpenApiOptions& options);

}  // namespace txcoord::http
