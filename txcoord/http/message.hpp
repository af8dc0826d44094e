// A request as the dispatcher sees it and a reply as the session writes it, apart from Beast.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txcoord::http {

enum class Port : unsigned char { open, admin };

// Views into the session's parser: valid until the reply is written.
struct Request {
  Port port = Port::open;
  std::string_view method, target;
  std::string_view content_type;
  std::string_view correlation_id, traceparent;  // as sent; not yet checked
  std::string_view authorization, request_id;    // the same; between coordinators and participants
  std::vector<std::string_view> idempotency_keys, prefer;
  std::string_view body;
};

struct Reply {
  int status = 200;
  std::string body = {};
  std::string_view content_type = "application/json";
  std::vector<std::pair<std::string_view, std::string>> headers = {};
  bool head_only = false;  // HEAD: the length is told, the body is not sent
};

}  // namespace txcoord::http
