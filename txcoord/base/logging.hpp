// JSON log lines on stdout, one object a line: ts, level, msg, then the fields given.
// Never pass secrets or personal data (addresses, DSNs, tokens). Thread-safe, and nobody waits for
// whoever reads them: lines that are not taken are dropped and counted (line_writer.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
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

// Since the start of the process: queue full, or standard output refused them.
std::uint64_t lines_dropped();

// How long the end of a process waits for whoever reads its last lines.
inline constexpr std::chrono::milliseconds last_words_wait_max{1000};

// The last call before the process ends: waits for the queue, at most last_words_wait_max.
void finish();

// Logs the defect, sees that the line is out, and ends the process with SIGABRT (exit code 134).
[[noreturn]] void stop_on_defect(std::string_view message,
                                 const std::exception_ptr& thrown) noexcept;

// Text for a person, on standard error: for what a process that serves says before it does, and
// when it cannot. Waits at most last_words_wait_max; false: nobody took it in that time.
bool tell(std::string_view text);

}  // namespace txcoord::logging
