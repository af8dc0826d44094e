// See header_check.hpp.
#include "txcoord/http/header_check.hpp"

#include <algorithm>
#include <boost/beast/core/string.hpp>

namespace txcoord::http {
namespace {

using boost::beast::iequals;

bool token_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if ((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'))
    return true;
  return byte != 0 && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// Field content: visible, space, tab, and bytes above ASCII. No bare CR, no NUL.
bool value_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= 0x20 && byte != 0x7F);
}

// uri-host [":" port], as far as its alphabet goes.
bool host_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if ((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'))
    return true;
  return byte != 0 && std::string_view("-._~%!$&'()*+,;=:[]").find(c) != std::string_view::npos;
}

bool all_of(std::string_view text, bool (*accepts)(char)) {
  return std::all_of(text.begin(), text.end(), accepts);
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// What is counted over the lines.
struct Seen {
  int hosts = 0, lengths = 0, codings = 0;
  int types = 0, origins = 0, credentials = 0;
};

std::optional<HeaderFault> check_field(std::string_view name, std::string_view value, bool http_1_1,
                                       Seen& seen) {
  if (iequals(name, "Host")) {
    if (++seen.hosts > 1) return HeaderFault{400, "Host is given twice"};
    if (value.empty() || !all_of(value, host_byte)) return HeaderFault{400, "Host is not a host"};
  } else if (iequals(name, "Content-Length")) {
    if (++seen.lengths > 1) return HeaderFault{400, "Content-Length is given twice"};
    const bool digits = !value.empty() && value.size() <= 18 &&
                        value.find_first_not_of("0123456789") == std::string_view::npos;
    if (!digits) return HeaderFault{400, "Content-Length is not a number"};
  } else if (iequals(name, "Transfer-Encoding")) {
    if (!http_1_1) return HeaderFault{400, "Transfer-Encoding needs HTTP/1.1"};
    if (++seen.codings > 1 || !iequals(value, "chunked")) {
      return HeaderFault{400, "Transfer-Encoding must be exactly one chunked"};
    }
  } else if (iequals(name, "Content-Type")) {
    if (++seen.types > 1) return HeaderFault{400, "Content-Type is given twice"};
  } else if (iequals(name, "Origin")) {
    if (++seen.origins > 1) return HeaderFault{400, "Origin is given twice"};
  } else if (iequals(name, "Authorization")) {
    if (++seen.credentials > 1) return HeaderFault{400, "Authorization is given twice"};
  }
  return std::nullopt;
}

std::optional<HeaderFault> check_line(std::string_view line, bool http_1_1, Seen& seen) {
  if (line.front() == ' ' || line.front() == '\t')
    return HeaderFault{400, "a header line is folded"};
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return HeaderFault{400, "a header line has no colon"};
  const std::string_view name = line.substr(0, colon);
  if (name.empty() || !all_of(name, token_byte))
    return HeaderFault{400, "a header name is not a token"};
  const std::string_view value = trim(line.substr(colon + 1));
  if (!all_of(value, value_byte))
    return HeaderFault{400, "a header value holds a control character"};
  return check_field(name, value, http_1_1, seen);
}

}  // namespace

std::optional<HeaderFault> check_header(std::string_view header) {
  const std::size_t first_end = header.find("\r\n");
  const std::string_view request_line = header.substr(0, first_end);
  if (!all_of(request_line, value_byte))
    return HeaderFault{400, "the request line holds a control character"};
  const bool http_1_1 = request_line.ends_with(" HTTP/1.1");
  if (!http_1_1 && !request_line.ends_with(" HTTP/1.0")) {
    const bool http = request_line.find(" HTTP/") != std::string_view::npos;
    return http ? HeaderFault{505, "HTTP/1.1 is spoken here"}
                : HeaderFault{400, "this is not an HTTP/1.1 request"};
  }
  Seen seen;
  std::string_view rest = header.substr(first_end + 2);
  while (!rest.empty()) {
    const std::size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    if (line.empty()) break;
    if (auto fault = check_line(line, http_1_1, seen)) return fault;
    rest.remove_prefix(end + 2);
  }
  if (http_1_1 && seen.hosts == 0) return HeaderFault{400, "Host is missing"};
  if (seen.codings > 0 && seen.lengths > 0) {
    return HeaderFault{400, "Transfer-Encoding and Content-Length are both given"};
  }
  return std::nullopt;
}

}  // namespace txcoord::http
