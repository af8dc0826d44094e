// Servers that a test needs and PostgreSQL will not be: silent ones, standbys, ones that refuse
// with words of the test's choice. On a port of their own of 127.0.0.1.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace txcoord::test {

class FakeServer {
 public:
  // Takes connections, and never says a word.
  static FakeServer silent() { return FakeServer(std::string()); }
  // Refuses each session with this code and these words.
  static FakeServer refusing(std::string_view sqlstate, std::string_view words) {
    std::string fields;
    for (const auto& [kind, text] : {std::pair<char, std::string_view>{'S', "FATAL"},
                                     {'V', "FATAL"},
                                     {'C', sqlstate},
                                     {'M', words}})
      (fields += kind).append(text).push_back('\0');
    return FakeServer(message('E', fields + '\0'));
  }
  // Lets everybody in, and says that it is a standby.
  static FakeServer standby() {
    std::string reply = message('R', number(0));
    for (const auto& [name, value] :
         {std::pair<std::string_view, std::string_view>{"server_version", "15.0"},
          {"in_hot_standby", "on"},
          {"default_transaction_read_only", "off"}}) {
      std::string body(name);
      body.push_back('\0');
      body.append(value).push_back('\0');
      reply += message('S', body);
    }
    return FakeServer(reply + message('K', number(1) + number(2)) + message('Z', "I"));
  }

  FakeServer(FakeServer&&) = delete;
  ~FakeServer() {
    stopped_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    for (const int one : taken_) ::close(one);
    ::close(listener_);
  }

  std::string port() const { return std::to_string(port_); }
  // For a DSN whose other parts are a real database's.
  std::string dsn() const { return "host=127.0.0.1 port=" + port() + plain; }
  int asked() const { return asked_; }

  static constexpr const char* plain =
      " dbname=txcoord user=txcoord sslmode=disable gssencmode=disable";

 private:
  explicit FakeServer(std::string reply) : reply_(std::move(reply)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, any, size) != 0 || ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, any, &size) != 0)
      throw std::runtime_error("the fake server cannot listen");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }

  static std::string number(std::uint32_t value) {
    const std::uint32_t big = htonl(value);
    return {reinterpret_cast<const char*>(&big), sizeof big};
  }
  static std::string message(char kind, const std::string& body) {
    return kind + number(static_cast<std::uint32_t>(body.size() + 4)) + body;
  }

  void serve() {
    while (!stopped_) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      taken_.push_back(client);
      ++asked_;
      if (reply_.empty()) continue;
      std::array<char, 8192> startup{};
      if (::recv(client, startup.data(), startup.size(), 0) <= 0) continue;
      if (::send(client, reply_.data(), reply_.size(), MSG_NOSIGNAL) < 0) continue;
      ::shutdown(client, SHUT_WR);
    }
  }

  const std::string reply_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopped_ = false;
  std::atomic<int> asked_ = 0;
  std::vector<int> taken_;  // the thread's, until it has ended
  std::thread thread_;
};

}  // namespace txcoord::test
