// JSON log lines on standard output. The line is made here, by the thread that has something to
// say, and written by a thread of its own (line_writer.hpp).
#include "txcoord/base/logging.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/line_writer.hpp"
#include "txcoord/base/repeats.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord::logging {
namespace {

// A field longer than this is cut: a log line has a bound, whatever a driver's message holds.
constexpr std::size_t value_bytes_max = 2048;

enum class Level : std::uint8_t { debug, info, warn, error };
constexpr std::array<std::string_view, 4> level_names = {"debug", "info", "warn", "error"};

std::atomic<Level> least{Level::info};

void append_value(std::string& line,
                  const std::variant<std::string_view, std::int64_t, double, bool>& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    append_json_string(line, text->substr(0, value_bytes_max));
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    line += *flag ? "true" : "false";
  } else {
    std::array<char, 40> digits{};
    char* const end = digits.data() + digits.size();
    const auto written = std::holds_alternative<std::int64_t>(value)
                             ? std::to_chars(digits.data(), end, std::get<std::int64_t>(value))
                             : std::to_chars(digits.data(), end, std::get<double>(value));
    const std::string_view number(digits.data(),
                                  static_cast<std::size_t>(written.ptr - digits.data()));
    // JSON knows no inf and no nan.
    const bool finite = number.find_first_of("in") == std::string_view::npos;
    line += finite ? number : std::string_view("null");
  }
}

// `not_shown`: how many lines with this message were left out before it.
std::string line_of(Level level, std::string_view message, Fields fields,
                    std::uint64_t not_shown = 0) {
  std::string line;
  line.reserve(256);
  line += R"({"ts":")";
  line += rfc3339(now_utc());
  line += R"(","level":")";
  line += level_names[static_cast<std::size_t>(level)];
  line += R"(","msg":)";
  append_json_string(line, message.substr(0, value_bytes_max));
  for (const Field& field : fields) {
    // An empty text says nothing: callers pass what they have without asking first.
    if (const auto* text = std::get_if<std::string_view>(&field.value);
        text != nullptr && text->empty())
      continue;
    line.push_back(',');
    append_json_string(line, field.key);
    line.push_back(':');
    append_value(line, field.value);
  }
  if (not_shown > 0) {
    line += R"(,"not_shown":)";
    append_value(line, static_cast<std::int64_t>(not_shown));
  }
  line.push_back('}');
  return line;
}

std::string notice(std::uint64_t lines) {
  const std::string message = std::to_string(lines) +
                              " lines were dropped: standard output was not read fast enough, or "
                              "could not be written";
  return line_of(Level::warn, message, {{"lines", static_cast<std::int64_t>(lines)}});
}

std::atomic<LineWriter*> opened{nullptr};

// Never destroyed: threads may log for as long as the process lives.
LineWriter& output() {
  static LineWriter& writer = *new LineWriter(STDOUT_FILENO, LineWriter::Limits(), notice);
  opened.store(&writer);
  return writer;
}

std::optional<std::uint64_t> admit(std::string_view message) {
  static std::mutex mutex;
  static Repeats& repeats = *new Repeats;  // never destroyed, as the writer
  const std::lock_guard lock(mutex);
  return repeats.admit(message, std::chrono::steady_clock::now());
}

// A warning may be what every try says, for as long as its cause stays: repeats.hpp. An error names
// something of its own each time, and is never left out.
void write(Level level, std::string_view message, Fields fields) {
  if (level < least.load(std::memory_order_relaxed)) return;
  std::uint64_t not_shown = 0;
  if (level == Level::warn) {
    const auto admitted = admit(message);
    if (!admitted) return;
    not_shown = *admitted;
  }
  output().push(line_of(level, message, fields, not_shown));
}

}  // namespace

void start(std::string_view level) {
  for (std::size_t i = 0; i < level_names.size(); ++i) {
    if (level != level_names[i]) continue;
    least.store(static_cast<Level>(i));
    output();  // no thread to be had: this is the moment to say so
    return;
  }
  throw std::invalid_argument("log level must be debug, info, warn or error");
}

void debug(std::string_view message, Fields fields) { write(Level::debug, message, fields); }
void info(std::string_view message, Fields fields) { write(Level::info, message, fields); }
void warn(std::string_view message, Fields fields) { write(Level::warn, message, fields); }
void error(std::string_view message, Fields fields) { write(Level::error, message, fields); }

std::uint64_t lines_dropped() {
  const LineWriter* const writer = opened.load();
  return writer != nullptr ? writer->dropped() : 0;
}

void finish() {
  if (LineWriter* const writer = opened.load()) writer->finish(last_words_wait_max);
}

void stop_on_defect(std::string_view message, const std::exception_ptr& thrown) noexcept {
  try {
    std::string what = "an exception that is none of the standard's";
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const std::exception& defect) {
      what = defect.what();
    } catch (...) {
    }
    error(message, {{"error", std::string_view(what)}});
    finish();
  } catch (...) {  // no memory for a last line: the exit code must do
  }
  std::abort();
}

bool tell(std::string_view text) {
  if (text.empty()) return true;
  LineWriter writer(STDERR_FILENO);
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  writer.push(std::string(text));
  return writer.finish(last_words_wait_max);
}

}  // namespace txcoord::logging
