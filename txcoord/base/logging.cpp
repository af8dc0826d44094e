// JSON log lines through spdlog's stdout sink. The line is made here, not by a pattern: a pattern
// cannot escape.
#include "txcoord/base/logging.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <charconv>
#include <memory>
#include <stdexcept>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord::logging {
namespace {

// A field longer than this is cut: a log line has a bound, whatever a driver's message holds.
constexpr std::size_t value_bytes_max = 2048;

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("txcoord",
                                                 std::make_shared<spdlog::sinks::stdout_sink_mt>());
    made->set_pattern("%v");
    made->set_level(spdlog::level::info);
    return made;
  }();
  return *instance;
}

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

void write(spdlog::level::level_enum level, std::string_view name, std::string_view message,
           Fields fields) {
  spdlog::logger& out = logger();
  if (!out.should_log(level)) return;
  std::string line;
  line.reserve(256);
  line += R"({"ts":")";
  line += rfc3339(now_utc());
  line += R"(","level":")";
  line += name;
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
  line.push_back('}');
  out.log(level, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace

void start(std::string_view level) {
  if (level != "debug" && level != "info" && level != "warn" && level != "error") {
    throw std::invalid_argument("log level must be debug, info, warn or error");
  }
  logger().set_level(spdlog::level::from_str(std::string(level)));
}

void debug(std::string_view message, Fields fields) {
  write(spdlog::level::debug, "debug", message, fields);
}
void info(std::string_view message, Fields fields) {
  write(spdlog::level::info, "info", message, fields);
}
void warn(std::string_view message, Fields fields) {
  write(spdlog::level::warn, "warn", message, fields);
}
void error(std::string_view message, Fields fields) {
  write(spdlog::level::err, "error", message, fields);
}

}  // namespace txcoord::logging
