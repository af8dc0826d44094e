#include "txcoord/metrics/process.hpp"

#include <unistd.h>

#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace txcoord::detail {
namespace {

// Fields of /proc/self/stat, by their number in proc(5); the third is the first after the name.
constexpr int user_ticks = 14, system_ticks = 15, start_ticks = 22, resident_pages = 24;

std::optional<double> boot_time_seconds() {
  std::ifstream file("/proc/stat");
  for (std::string word; file >> word;
       file.ignore(std::numeric_limits<std::streamsize>::max(), '\n'))
    if (double seconds = 0; word == "btime" && file >> seconds) return seconds;
  return std::nullopt;
}

}  // namespace

std::optional<ProcessLook> look_at_process() {
  static const std::optional<double> boot = boot_time_seconds();
  std::ifstream file("/proc/self/stat");
  std::string stat;
  std::getline(file, stat);
  // The name stands in brackets and may hold anything, brackets and blanks too.
  const auto name_end = stat.rfind(')');
  if (!boot || name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(name_end + 2));
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  ProcessLook look;
  std::string field;
  for (int number = 3; number <= resident_pages && fields >> field; ++number) {
    if (number == user_ticks || number == system_ticks)
      look.cpu_seconds += std::stod(field) / ticks;
    if (number == start_ticks) look.start_time_seconds = *boot + std::stod(field) / ticks;
    if (number == resident_pages)
      look.resident_memory_bytes = std::stod(field) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  }
  if (!fields) return std::nullopt;
  return look;
}

}  // namespace txcoord::detail
