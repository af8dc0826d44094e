// See wire.hpp.
#include "txcoord/http/wire.hpp"

#include <boost/beast/http/status.hpp>
#include <ctime>

namespace txcoord::http {
namespace {

// IMF-fixdate, made anew once a second. The C locale's names, so strftime is safe.
const std::string& date_now() {
  thread_local std::time_t made_at = -1;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != made_at) {
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    char buffer[40];
    const std::size_t size =
        std::strftime(buffer, sizeof buffer, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    text.assign(buffer, size);
    made_at = now;
  }
  return text;
}

// Values come from us or were checked at the door; this is the last line against a split reply.
void append_value(std::string& out, std::string_view value) {
  for (const char c : value) out.push_back(c == '\r' || c == '\n' ? ' ' : c);
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  append_value(out, value);
  out.append("\r\n");
}

}  // namespace

std::string_view status_text(int status) {
  const auto known = boost::beast::http::int_to_status(static_cast<unsigned>(status));
  const auto text = boost::beast::http::obsolete_reason(known);
  return {text.data(), text.size()};
}

void append_reply(std::string& out, const Reply& reply, bool close, bool http_1_1) {
  out.append("HTTP/1.1 ").append(std::to_string(reply.status)).push_back(' ');
  out.append(status_text(reply.status)).append("\r\n");
  append_field(out, "Date", date_now());
  if (reply.status != 204) {
    append_field(out, "Content-Type", reply.content_type);
    append_field(out, "Content-Length", std::to_string(reply.body.size()));
    append_field(out, "Cache-Control", "no-store");
    append_field(out, "X-Content-Type-Options", "nosniff");
  }
  if (close) {
    append_field(out, "Connection", "close");
  } else if (!http_1_1) {
    append_field(out, "Connection", "keep-alive");
  }
  for (const auto& [name, value] : reply.headers) append_field(out, name, value);
  out.append("\r\n");
  if (!reply.head_only && reply.status != 204) out.append(reply.body);
}

}  // namespace txcoord::http
