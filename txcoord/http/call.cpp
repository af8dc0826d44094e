// See call.hpp.
#include "txcoord/http/call.hpp"

#include <algorithm>

#include "txcoord/base/ids.hpp"
#include "txcoord/base/sha256.hpp"

namespace txcoord::http {
namespace {

// Cursors are the last id in hex behind a version: opaque, so that what they hold may change.
constexpr std::string_view cursor_version = "c1";

std::string from_hex(std::string_view text) {
  const auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<char>(value(text[i]) * 16 + value(text[i + 1])));
  }
  return bytes;
}

std::optional<std::string> read_cursor(std::string_view cursor, bool ids_are_uuids) {
  if (!cursor.starts_with(cursor_version)) return std::nullopt;
  const std::string_view digits = cursor.substr(cursor_version.size());
  const bool hex = !digits.empty() && digits.size() % 2 == 0 &&
                   digits.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  if (!hex) return std::nullopt;
  std::string id = from_hex(digits);
  const bool clean = std::all_of(id.begin(), id.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  if (!clean || (ids_are_uuids && !valid_uuid(id))) return std::nullopt;
  return id;
}

}  // namespace

std::string Call::query_value(std::string_view name) const {
  const auto found = std::find_if(query.begin(), query.end(),
                                  [&](const auto& pair) { return pair.first == name; });
  return found == query.end() ? std::string() : found->second;
}

bool Call::query_says(std::string_view name) const {
  const std::string value = query_value(name);
  return query_has(name) && value != "0" && value != "false";
}

bool Call::query_has(std::string_view name) const {
  return std::any_of(query.begin(), query.end(),
                     [&](const auto& pair) { return pair.first == name; });
}

Reply json_reply(std::string body, int status) {
  return {.status = status, .body = std::move(body)};
}

Reply live_reply() { return json_reply(R"({"status":"live"})"); }

Reply metrics_reply(const Call& call, const Metrics& metrics) {
  return {.body = metrics.serialize(), .content_type = call.route->successes[0].media};
}

Reply readiness_reply(std::string body, bool is_ready) {
  Reply reply = json_reply(std::move(body), is_ready ? 200 : 503);
  if (!is_ready) reply.headers.emplace_back("Retry-After", "1");
  return reply;
}

std::string make_cursor(std::string_view last_id) {
  constexpr char digits[] = "0123456789abcdef";
  std::string cursor(cursor_version);
  for (const char c : last_id) {
    const auto byte = static_cast<unsigned char>(c);
    cursor.push_back(digits[byte >> 4U]);
    cursor.push_back(digits[byte & 0x0FU]);
  }
  return cursor;
}

PageOrProblem read_page(const Call& call, bool ids_are_uuids) {
  PageOrProblem result;
  if (const std::string limit = call.query_value("limit"); !limit.empty()) {
    result.page.limit = static_cast<std::size_t>(std::stoul(limit));  // the schema was checked
  }
  if (const std::string cursor = call.query_value("cursor"); !cursor.empty()) {
    auto after = read_cursor(cursor, ids_are_uuids);
    if (after) {
      result.page.after = std::move(*after);
    } else {
      result.problem =
          validation_problem(400, "the cursor is not one of ours", {{"cursor", "is not valid"}});
    }
  }
  return result;
}

// Principal, method, route: there is one principal until there is authentication.
std::string scope_of(const Route& route) {
  return "- " + std::string(route.method) + ' ' + std::string(route.path);
}

std::array<std::uint8_t, 32> fingerprint_of(const Call& call, std::string_view canonical) {
  // A newline can stand in none of the parts.
  std::string text = scope_of(*call.route);
  text.append("\n").append(call.id).append("\n").append(canonical);
  return sha256(text);
}

}  // namespace txcoord::http
