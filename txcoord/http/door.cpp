// See door.hpp.
#include "txcoord/http/door.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <boost/beast/core/string.hpp>
#include <cctype>

#include "txcoord/http/bearer.hpp"
#include "txcoord/http/media_type.hpp"
#include "txcoord/http/target.hpp"

namespace txcoord::http {
namespace {

using boost::beast::iequals;

constexpr std::string_view any_name = "*";
// Names that nobody can have registered in the public name system.
constexpr std::array<std::string_view, 3> private_domains{".internal", ".local", ".home.arpa"};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool is_address(std::string_view text) {
  boost::system::error_code error;
  boost::asio::ip::make_address(std::string(text), error);
  return !error;
}

bool is_loopback(const std::string& address) {
  boost::system::error_code error;
  const auto parsed = boost::asio::ip::make_address(address, error);
  return !error && parsed.is_loopback();
}

bool has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// uri-host [":" port], in lower case, without the port, brackets and a last dot; empty: it is none.
std::string host_of(std::string_view authority) {
  std::string_view host = authority;
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    if (end == std::string_view::npos) return {};
    const std::string_view after = host.substr(end + 1);
    host = host.substr(1, end - 1);
    if ((!after.empty() && after.front() != ':') || !is_address(host)) return {};
    return lower(host);
  }
  if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
    const std::string_view port = host.substr(colon + 1);
    if (port.size() > 5 || port.find_first_not_of("0123456789") != std::string_view::npos)
      return {};
    host = host.substr(0, colon);
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  return lower(host);
}

std::string machine_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  return lower(name.data());
}

Problem host_refused(std::string_view authority) {
  return {.status = 421,
          .reason = "HOST_NOT_ALLOWED",
          .detail = "this service is not called " + std::string(authority) +
                    ": nothing was done. If it is meant, add the name to http.hosts_allowed"};
}

Problem origin_refused(std::string_view who) {
  return {.status = 403,
          .reason = "ORIGIN_NOT_ALLOWED",
          .detail = "a web page of " + std::string(who) +
                    " may not call this service: nothing was done. If it is meant, add its origin "
                    "to http.origins_allowed"};
}

// A person who follows a link to what this service shows. No page can read the answer.
bool is_navigation(const Request& request) {
  return (request.method == "GET" || request.method == "HEAD") &&
         request.fetch_mode == "navigate" && request.fetch_dest == "document";
}

}  // namespace

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> found;
  while (!names.empty()) {
    const std::size_t comma = names.find(',');
    std::string_view name = names.substr(0, comma);
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    if (!name.empty()) found.push_back(lower(name));
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
  }
  return found;
}

Door::Door(const HttpSettings& settings)
    : hosts_(split_names(settings.hosts_allowed)),
      origins_(split_names(settings.origins_allowed)),
      hostname_(machine_name()),
      local_only_{is_loopback(settings.address), is_loopback(settings.admin_address)} {}

// An address cannot be made to point elsewhere, and a name that this machine alone has cannot be
// registered by a stranger. Beyond loopback, neither can names of a private network: those without
// a dot (containers), and those of domains that are kept for it. On loopback these do not count:
// whoever answers for names on a local network could have one point here.
bool Door::is_our_name(std::string_view authority, Port port) const {
  const std::string host = host_of(authority);
  if (host.empty()) return false;
  if (is_address(host) || host == "localhost" || host.ends_with(".localhost")) return true;
  if (!hostname_.empty() && host == hostname_) return true;
  if (has(hosts_, host) || has(hosts_, any_name)) return true;
  if (local_only_[port == Port::admin ? 1 : 0]) return false;
  return host.find('.') == std::string::npos ||
         std::any_of(private_domains.begin(), private_domains.end(),
                     [&](std::string_view domain) { return host.ends_with(domain); });
}

bool Door::allows_origin(std::string_view origin) const { return has(origins_, lower(origin)); }

std::optional<Problem> Door::check_caller(const Request& request, std::string_view token) const {
  const std::string_view authority = split_target(request.target).authority;
  const bool trusted = !token.empty() && bears(request.authorization, token);
  if (!trusted) {
    // HTTP/1.0 may come without a Host; no browser speaks it.
    for (const std::string_view name : {authority, request.host})
      if (!name.empty() && !is_our_name(name, request.port)) return host_refused(name);
  }
  if (!request.origin.empty()) {
    if (!allows_origin(request.origin)) return origin_refused(request.origin);
    return std::nullopt;
  }
  const bool foreign =
      iequals(request.fetch_site, "cross-site") || iequals(request.fetch_site, "same-site");
  if (foreign && !is_navigation(request)) return origin_refused("another site");
  return std::nullopt;
}

void Door::add_origin_headers(const Request& request, Reply& reply) const {
  if (origins_.empty()) return;
  reply.headers.emplace_back("Vary", "Origin");
  if (request.origin.empty() || !allows_origin(request.origin)) return;
  reply.headers.emplace_back("Access-Control-Allow-Origin", std::string(request.origin));
  if (request.method == "OPTIONS") {
    reply.headers.emplace_back("Access-Control-Allow-Methods",
                               "GET, HEAD, POST, PUT, PATCH, DELETE");
    reply.headers.emplace_back("Access-Control-Allow-Headers",
                               "Authorization, Content-Type, Idempotency-Key, Prefer, traceparent, "
                               "X-Correlation-ID");
    return;
  }
  reply.headers.emplace_back("Access-Control-Expose-Headers",
                             "Idempotency-Replayed, Location, Preference-Applied, Retry-After, "
                             "traceparent, X-Correlation-ID");
}

std::optional<Problem> check_token(const Request& request, std::string_view token) {
  if (bears(request.authorization, token)) return std::nullopt;
  return Problem{.status = 401,
                 .reason = "UNAUTHENTICATED",
                 .detail = request.authorization.empty()
                               ? "nothing was done: send the header Authorization: Bearer TOKEN "
                                 "with the token of the setting internal_token"
                               : "nothing was done: the token sent is not that of the setting "
                                 "internal_token"};
}

Problem body_too_long(std::uint64_t body_bytes_max) {
  return validation_problem(413,
                            "the body is longer than " + std::to_string(body_bytes_max) + " bytes");
}

std::optional<Problem> check_body_header(const Request& request, BodyRule rule,
                                         std::uint64_t body_bytes_max) {
  if (request.content_length > body_bytes_max) return body_too_long(body_bytes_max);
  if (!is_identity(request.content_coding)) {
    Problem problem = validation_problem(
        415, "the body comes in the coding " + std::string(request.content_coding) +
                 ", which is not read here: send it as it is, without Content-Encoding");
    problem.headers.emplace_back("Accept-Encoding", "identity");
    return problem;
  }
  if (!request.has_body() && rule != BodyRule::required) return std::nullopt;
  if (!is_json(request.content_type)) {
    return validation_problem(
        415, request.content_type.empty()
                 ? "the header Content-Type is missing: send Content-Type: application/json"
                 : "the body is said to be " + std::string(request.content_type) +
                       ": send Content-Type: application/json");
  }
  if (rule == BodyRule::none)
    return validation_problem(400, "this call takes no body: send it without one");
  return std::nullopt;
}

bool asks_health(const Request& request) {
  if (request.method != "GET" && request.method != "HEAD") return false;
  const std::string_view path = split_target(request.target).path;
  return path == "/livez" || path == "/readyz" || path == "/metrics";
}

}  // namespace txcoord::http
