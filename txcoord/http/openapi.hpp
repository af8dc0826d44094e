// /openapi.json (3.1), written from the route table and its schemas.
#pragma once

#include <string>

namespace txcoord::http {

std::string openapi_document();

}  // namespace txcoord::http
