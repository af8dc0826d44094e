// The HTTP client of the branch protocol: a bounded pool of kept-alive connections to one service.
// One exchange at a time on a connection. I/O thread only.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txcoord::remote {

namespace asio = boost::asio;

// http://host[:port][/prefix]; the host may be a name, an IPv4 address, or [an IPv6 one].
struct Url {
  std::string host, port = "80", prefix;

  std::string authority() const;  // for the Host header, and for people
};
// Throws std::invalid_argument that says what is wrong.
Url parse_url(std::string_view text);

struct LinkLimits {
  std::size_t connections_max = 64;
  std::size_t waiters_max = 1024;  // more callers than this waiting for a connection: not sent
  std::size_t answer_bytes_max = 16 * 1024 * 1024;
  std::chrono::milliseconds connect_max{1000};
  // Below the service's own idle limit, so that a call does not meet its close.
  std::chrono::milliseconds idle_max{10000};
};

struct Exchange {
  enum class Kind : std::uint8_t {
    answered,
    not_sent,   // not connected, or no connection became free: the service has seen nothing of it
    no_answer,  // the connection broke, or what came was no HTTP: it may have been done
    late,       // the time ran out after it was sent
  };
  Kind kind = Kind::not_sent;
  int status = 0;
  std::string body;   // of an answer
  std::string error;  // for logs, else
};

using HttpHeaders = std::vector<std::pair<std::string_view, std::string>>;

class HttpLink {
 public:
  HttpLink(asio::any_io_executor io, Url url, LinkLimits limits = {});
  ~HttpLink();
  HttpLink(const HttpLink&) = delete;
  HttpLink& operator=(const HttpLink&) = delete;

  // POST prefix + path, waiting for a connection and the answer for `time_max` in all. Never
  // throws, never sends twice.
  asio::awaitable<Exchange> post(std::string path, std::string body, HttpHeaders headers,
                                 std::chrono::milliseconds time_max);

  const Url& url() const { return url_; }
  std::size_t connections() const;

 private:
  struct Impl;
  Url url_;
  std::shared_ptr<Impl> impl_;
};

}  // namespace txcoord::remote
