// See problem.hpp.
#include "txcoord/http/problem.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/base/utf8.hpp"

namespace txcoord::http {
namespace {

constexpr std::array<ReasonInfo, 25> reasons{{
    {"OUT_OF_STOCK", "Out of stock"},
    {"UNKNOWN_SKU", "No such product"},
    {"PRICE_CHANGED", "The price is not the quoted one"},
    {"INSUFFICIENT_FUNDS", "The wallet does not hold enough"},
    {"CARD_DECLINED", "The card was declined"},
    {"UNKNOWN_CUSTOMER", "No such customer"},
    {"ADDRESS_REFUSED", "The carrier does not serve this address"},
    {"CARRIER_UNAVAILABLE", "The carrier takes no shipments now"},
    {"VALIDATION_FAILED", "The request is not valid", 422},
    {"NOT_FOUND", "Not found", 404},
    {"ILLEGAL_STATE", "Not possible in this state"},
    {"ROWS_MISSING", "Rows of this order are missing, which needs a person"},
    {"KEY_MISSING", "Idempotency-Key is required", 400},
    {"KEY_REUSED", "The Idempotency-Key was used with another request", 422},
    {"REQUEST_IN_FLIGHT", "A request with this Idempotency-Key is under way", 409, true},
    {"PARTICIPANT_UNAVAILABLE", "A service is away", 503, true},
    {"OVERLOADED", "Too much work is waiting", 503, true},
    {"RATE_LIMITED", "Too many requests", 429, true},
    {"OUTCOME_UNKNOWN", "The outcome is not known yet", 500, true},
    {"MODE_NOT_AVAILABLE", "Not built yet", 501},
    {"UNAUTHENTICATED", "The caller is not known", 401},
    {"HOST_NOT_ALLOWED", "The request is for another host", 421},
    {"ORIGIN_NOT_ALLOWED", "Web pages of this origin may not call", 403},
    {"RESERVATION_EXPIRED", "The reservation expired before the order was done"},
    {"SAGA_LOST", "The log lost this order's saga, and a person had it compensated"},
}};

constexpr ReasonInfo unlisted{"ILLEGAL_STATE", "Refused", 409, false};
constexpr std::size_t reason_bytes_max = 64;
constexpr std::size_t text_bytes_max = 2000;  // as the schema says

bool written_as_reasons_are(std::string_view reason) {
  const auto fits = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !reason.empty() && reason.size() <= reason_bytes_max && reason.front() >= 'A' &&
         reason.front() <= 'Z' && std::all_of(reason.begin(), reason.end(), fits);
}

// A more telling title where one reason serves several statuses.
std::string_view title(const Problem& problem, const ReasonInfo& info) {
  if (problem.reason != "VALIDATION_FAILED") return info.title;
  switch (problem.status) {
    case 405: return "The method is not allowed here";
    case 408: return "The request took too long to arrive";
    case 413: return "The body is too large";
    case 415: return "The body must be application/json";
    case 417: return "The expectation cannot be met";
    case 431: return "The header is too large";
    case 505: return "The HTTP version is not supported";
    default: return info.title;
  }
}

std::string type_uri(std::string_view reason) {
  std::string uri = "urn:txcoord:problem:";
  for (const char c : reason) {
    uri.push_back(c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  }
  return uri;
}

}  // namespace

const ReasonInfo& reason_info(std::string_view reason) {
  const auto known = [&](const ReasonInfo& info) { return info.reason == reason; };
  const auto* found = std::find_if(reasons.begin(), reasons.end(), known);
  return found == reasons.end() ? unlisted : *found;
}

std::vector<std::string_view> all_reasons() {
  std::vector<std::string_view> names;
  names.reserve(std::size(reasons));
  for (const ReasonInfo& info : reasons) names.push_back(info.reason);
  return names;
}

Reply problem_reply(const Problem& problem) {
  const ReasonInfo& info = reason_info(problem.reason);
  const bool own = &info == &unlisted && written_as_reasons_are(problem.reason);
  const std::string_view reason = own ? problem.reason : info.reason;
  JsonWriter out;
  out.begin_object()
      .field("type", type_uri(reason))
      .field("title", title(problem, info))
      .field("status", problem.status)
      .field("detail", storable_text(problem.detail, text_bytes_max))
      .field("reason", reason)
      .field("retryable", info.retryable)
      .field_if("transaction_id", problem.transaction_id)
      .field_if("sku", problem.sku);
  if (problem.unit_price) out.field("unit_price", *problem.unit_price);
  if (problem.available) out.field("available", *problem.available);
  if (!problem.errors.empty()) {
    out.key("errors").begin_array();
    for (std::size_t i = 0; i < std::min(problem.errors.size(), errors_max); ++i) {
      const FieldError& error = problem.errors[i];
      out.begin_object()
          .field("field", storable_text(error.field, text_bytes_max))
          .field("message", storable_text(error.message, text_bytes_max))
          .end_object();
    }
    out.end_array();
  }
  out.end_object();
  Reply reply{
      .status = problem.status, .body = out.take(), .content_type = "application/problem+json"};
  for (const auto& header : problem.headers) reply.headers.push_back(header);
  if (problem.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (problem.retry_after || problem.status == 503) {
    // Whole seconds, rounded up: 0 would invite an instant retry.
    const auto wait = problem.retry_after.value_or(std::chrono::milliseconds(1000));
    const auto seconds = std::max<std::int64_t>(1, (wait.count() + 999) / 1000);
    reply.headers.emplace_back("Retry-After", std::to_string(seconds));
  }
  return reply;
}

Problem validation_problem(int status, std::string detail, std::vector<FieldError> errors) {
  if (!errors.empty() && errors.front().message != detail) {
    const FieldError& first = errors.front();
    detail += ": " + first.field + (first.field.empty() ? "" : " ") + first.message;
    if (errors.size() > 1) detail += ", and " + std::to_string(errors.size() - 1) + " more";
  }
  return {.status = status,
          .reason = "VALIDATION_FAILED",
          .detail = std::move(detail),
          .errors = std::move(errors)};
}

Problem not_found(std::string detail) {
  return {.status = 404, .reason = "NOT_FOUND", .detail = std::move(detail)};
}

Problem participant_unavailable(std::string_view participant, const Failure& failure) {
  logging::warn("a read failed", {{"participant", participant},
                                  {"failure", to_string(failure.kind)},
                                  {"sqlstate", failure.sqlstate},
                                  {"error", failure.message}});
  return {.status = 503,
          .reason = "PARTICIPANT_UNAVAILABLE",
          .detail = "the " + std::string(participant) + " service did not answer",
          .retry_after = std::chrono::milliseconds(1000)};
}

}  // namespace txcoord::http
