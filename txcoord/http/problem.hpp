// RFC 9457 problems: every error that a client sees, from the parser's own refusals on.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "txcoord/base/failure.hpp"
#include "txcoord/http/message.hpp"
#include "txcoord/http/schema.hpp"

namespace txcoord::http {

struct Problem {
  int status = 500;
  std::string_view reason;  // from the contract's closed list; points into it
  std::string detail;       // for people
  std::string transaction_id = {};
  // The product that is refused, with what it costs now or how much of it is left.
  std::string sku = {};
  std::optional<std::int64_t> unit_price = {}, available = {};
  std::vector<FieldError> errors = {};
  std::optional<std::chrono::milliseconds> retry_after = {};
  std::vector<std::pair<std::string_view, std::string>> headers = {};
};

// Everything about a reason that does not depend on the case.
struct ReasonInfo {
  std::string_view reason, title;
  int status = 409;  // unless the Problem says otherwise
  bool retryable = false;
};
// The list of our own. One that is not on it is a participant's, which knows more refusals than
// this version: 409, not retryable, and passed on if it is written as reasons are, else
// ILLEGAL_STATE.
const ReasonInfo& reason_info(std::string_view reason);
std::vector<std::string_view> all_reasons();

// At most errors_max errors are told; texts are cut to what the schema says.
Reply problem_reply(const Problem& problem);

// The first error is told in the detail too.
Problem validation_problem(int status, std::string detail, std::vector<FieldError> errors = {});
Problem not_found(std::string detail);
// A participant that did not answer a read. Its message is for logs: the client learns only who.
Problem participant_unavailable(std::string_view participant, const Failure& failure);

}  // namespace txcoord::http
