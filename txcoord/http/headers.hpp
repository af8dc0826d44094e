// What our own request headers mean: Idempotency-Key, Prefer, X-Correlation-ID, traceparent.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/http/problem.hpp"

namespace txcoord::http {

// The key without its quotes: `abc` and `"abc"` are one key.
struct KeyHeader {
  std::string key;
  std::optional<Problem>
      problem;  // 400: missing, repeated, or not 1 to 255 visible ASCII characters
};
KeyHeader read_key(const std::vector<std::string_view>& values);

struct Preferences {
  bool applied = false;        // answer when every database has it
  bool respond_async = false;  // 202 at once
  std::optional<std::chrono::seconds> wait;
};
// RFC 7240: what is not understood is ignored.
Preferences read_prefer(const std::vector<std::string_view>& values);

// The client's id if it is one to log (1 to 128 of letters, digits, and - _ . : / + = @), else a
// new one: a tracing header never fails a request.
std::string correlation_or_new(std::string_view sent);
// The client's traceparent if it keeps to W3C Trace Context version 00, else a new one.
std::string traceparent_or_new(std::string_view sent);

}  // namespace txcoord::http
