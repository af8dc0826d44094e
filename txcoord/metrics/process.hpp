// What the kernel says about this process: the usual process_… metrics.
#pragma once

#include <optional>

namespace txcoord::detail {

struct ProcessLook {
  double start_time_seconds = 0;  // Unix time
  double cpu_seconds = 0;         // user and system
  double resident_memory_bytes = 0;
};

// Reads /proc, which never waits for a disk. Nothing where there is no /proc.
std::optional<ProcessLook> look_at_process();

}  // namespace txcoord::detail
