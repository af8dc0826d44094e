// See ports_file.hpp.
#include "txcoord/cli/ports_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "txcoord/base/settings.hpp"

namespace txcoord::cli {
namespace {

[[noreturn]] void cannot_write(const std::string& path) {
  const std::string why = std::generic_category().message(errno);
  throw SettingsError("http.ports_file: cannot write " + path + " (" + why +
                      "): name a file in a folder that this user may write to");
}

}  // namespace

PortsFile::PortsFile(std::string path, std::uint16_t port, std::uint16_t admin_port)
    : path_(std::move(path)) {
  if (path_.empty()) return;
  const std::string pid = std::to_string(::getpid());
  text_ = "port=" + std::to_string(port) + "\nadmin_port=" + std::to_string(admin_port) +
          "\npid=" + pid + "\n";
  // Whoever waits for the file to be there must find all of it: so it comes there by a rename.
  const std::string fresh = path_ + "." + pid;
  const int file = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0) cannot_write(fresh);
  const bool written =
      ::write(file, text_.data(), text_.size()) == static_cast<::ssize_t>(text_.size());
  const bool kept = ::close(file) == 0 && written;
  if (!kept || std::rename(fresh.c_str(), path_.c_str()) != 0) {
    const int why = errno;
    ::unlink(fresh.c_str());
    errno = why;
    cannot_write(path_);
  }
}

void PortsFile::remove() noexcept {
  if (path_.empty()) return;
  try {
    std::ifstream file(path_);
    const std::string found{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (found == text_) ::unlink(path_.c_str());
  } catch (...) {  // it is there for others to read: nothing of ours hangs on it
  }
}

}  // namespace txcoord::cli
