// The file that says which ports a process listens on (http.ports_file): for scripts and tests that
// let it take free ones.
#pragma once

#include <cstdint>
#include <string>

namespace txcoord::cli {

class PortsFile {
 public:
  // An empty path: there is no file, and nothing is done. Otherwise it is there afterwards, whole,
  // in place of an older one: lines port=N, admin_port=N, pid=N, which a shell can read as they
  // are. Throws SettingsError if it cannot be written.
  PortsFile(std::string path, std::uint16_t port, std::uint16_t admin_port);
  // Removes it, unless another process has written its own there. Throws nothing.
  void remove() noexcept;

 private:
  std::string path_, text_;
};

}  // namespace txcoord::cli
