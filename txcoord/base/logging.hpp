// JSON log lines on stdout, one object a line: ts, level, msg, then the fields given.
// Never pass secrets or personal data (addresses, DSNs, tokens). Thread-safe.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace txcoord::logging {

struct Field {
  std::string_view key;  // correlation_id, order_id, gid, participant, phase, …
  std::variant<std::string_view, std::int64_t, double, bool> value;
};
using Fields = std::initializer_list<Field>;

// "debug", "info", "warn", "error"; called once by main.
void start(std::string_view level);
void debug(std::string_view message, Fields fields = {});
void info(std::string_view message, Fields fields = {});
void warn(std::string_view message, Fields fields = {});
void error(std::string_view message, Fields fields = {});

}  // namespace txcoord::logging
