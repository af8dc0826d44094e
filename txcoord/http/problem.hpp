// RFC 9457 problems: every error that a client sees, from the parser's own refusals on.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
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
  std::vector<FieldError> errors = {};
  std::optional<std::chrono::milliseconds> retry_after = {};
};

// Everything about a reason that does not depend on the case.
struct ReasonInfo {
  std::string_view reason, title;
  int status = 409;  // unless the Problem says otherwise
  bool retryable = false;
};
// The closed list; a reason that is not on it (a newer participant's) is told as ILLEGAL_STATE's
// kin: 409, not retryable, its own name kept out of the answer's type.
const ReasonInfo& reason_info(std::string_view reason);
std::vector<std::string_view> all_reasons();

Reply problem_reply(const Problem& problem);

Problem validation_problem(int status, std::string detail, std::vector<FieldError> errors = {});
Problem not_found(std::string detail);
// A participant that did not answer a read. Its message is for logs: the client learns only who.
Problem participant_unavailable(std::string_view participant, const Failure& failure);

}  // namespace txcoord::http
