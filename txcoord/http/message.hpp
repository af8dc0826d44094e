// A request as the dispatcher sees it and a reply as the session writes it, apart from Beast.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>
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
  std::string_view host, origin;                        // empty: not sent
  std::string_view fetch_site, fetch_mode, fetch_dest;  // Sec-Fetch-…: a browser's
  std::string_view content_type, content_coding;
  std::uint64_t content_length = 0;
  bool chunked = false;
  std::string_view correlation_id, traceparent;  // as sent; not yet checked
  std::string_view authorization, request_id;    // the same; between coordinators and participants
  std::vector<std::string_view> idempotency_keys, prefer;
  std::string_view body;

  // Whether one was sent, or is still to come.
  bool has_body() const { return content_length > 0 || chunked || !body.empty(); }
};

struct Reply {
  int status = 200;
  std::string body = {};
  std::string_view content_type = "application/json";
  std::vector<std::pair<std::string_view, std::string>> headers = {};
  bool head_only = false;  // an answer to HEAD: the length is told, the body is not sent
};

// What is known of a request when its header is there and nothing of its body is read.
struct Judgement {
  std::optional<Reply> answer;       // set: the header is enough, and the body is not read
  std::uint64_t body_bytes_max = 0;  // else: of the body that may follow
};

// What stands behind a server's ports.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  // Neither throws.
  virtual Judgement judge(const Request& request) = 0;
  // Judges too, whoever did before: no request gets past the checks. The views of the request live
  // until the awaitable is done.
  virtual boost::asio::awaitable<Reply> handle(const Request& request) = 0;
};

}  // namespace txcoord::http
