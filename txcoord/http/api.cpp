// The handlers' common ground: which endpoint goes where, pages, cursors, keys.
#include "txcoord/http/api.hpp"

#include <algorithm>

#include "txcoord/base/ids.hpp"
#include "txcoord/base/sha256.hpp"
#include "txcoord/http/openapi.hpp"

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

Api::Api(asio::any_io_executor io, HttpDependencies dependencies)
    : io_(std::move(io)), d_(dependencies), openapi_(openapi_document()) {}

asio::awaitable<Reply> Api::handle(Call& call) {
  switch (call.route->endpoint) {
    case Endpoint::place_order: return place_order(call);
    case Endpoint::get_order: return get_order(call);
    case Endpoint::list_orders: return list_orders(call);
    case Endpoint::cancel_order: return cancel_order(call);
    case Endpoint::get_stock: return get_stock(call);
    case Endpoint::put_stock: return put_stock(call);
    case Endpoint::list_stock: return list_stock(call);
    case Endpoint::restock: return restock(call);
    case Endpoint::get_wallet: return get_wallet(call);
    case Endpoint::put_wallet: return put_wallet(call);
    case Endpoint::list_reservations: return list_reservations(call);
    case Endpoint::get_reservation: return get_reservation(call);
    case Endpoint::list_payments: return list_payments(call);
    case Endpoint::get_payment: return get_payment(call);
    case Endpoint::list_shipments: return list_shipments(call);
    case Endpoint::get_shipment: return get_shipment(call);
    case Endpoint::patch_shipment: return patch_shipment(call);
    case Endpoint::list_transactions: return list_transactions(call);
    case Endpoint::get_transaction: return get_transaction(call);
    case Endpoint::list_sagas: return list_sagas(call);
    case Endpoint::get_saga: return get_saga(call);
    case Endpoint::put_mode: return put_mode(call);
    case Endpoint::delete_mode: return delete_mode(call);
    case Endpoint::list_modes:
    case Endpoint::put_fault:
    case Endpoint::delete_fault:
    case Endpoint::metrics:
    case Endpoint::live:
    case Endpoint::ready:
    case Endpoint::openapi: break;
  }
  return immediate(call);
}

// Endpoints that wait for nothing.
asio::awaitable<Reply> Api::immediate(Call& call) {
  switch (call.route->endpoint) {
    case Endpoint::put_fault: co_return put_fault(call);
    case Endpoint::delete_fault: co_return delete_fault(call);
    case Endpoint::list_modes: co_return list_modes();
    case Endpoint::metrics:
      co_return Reply{.body = d_.metrics.serialize(),
                      .content_type = call.route->successes[0].media};
    case Endpoint::live: co_return json_reply(R"({"status":"live"})");
    case Endpoint::ready: co_return ready(call);
    case Endpoint::openapi: co_return json_reply(openapi_);
    default: break;
  }
  co_return problem_reply(
      {.status = 500, .reason = "OUTCOME_UNKNOWN", .detail = "this endpoint has no handler"});
}

std::chrono::milliseconds Api::read_wait() const {
  return std::chrono::milliseconds(d_.settings.http.read_wait_ms_max);
}

Reply json_reply(std::string body, int status) {
  return {.status = status, .body = std::move(body)};
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
