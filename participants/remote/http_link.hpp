// The HTTP client of the branch protocol: a bounded pool of kept-alive connections to one service.
// One exchange at a time on a connection. I/O thread only.
//
// A connection that is not in step is closed: bytes before the request, bytes after the answer,
// too many interim answers. What was read of it is no answer.
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

#include "participants/remote/name_lookup.hpp"

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
  std::size_t interim_answers_max = 8;          // 1xx, before one answer
  std::chrono::milliseconds connect_max{1000};  // the lookup of the name included
  // Below the service's own idle limit, so that a call does not meet its close.
  std::chrono::milliseconds idle_max{10000};
};

struct Exchange {
  enum class Kind : std::uint8_t {
    answered,   // one whole message, with nothing before or after it
    not_sent,   // not connected, or no connection became free: the service has seen nothing of it
    no_answer,  // the connection broke, or what came was no such message: it may have been done
    late,       // the time ran out after it was sent
  };
  Kind kind = Kind::not_sent;
  int status = 0;
  std::string body;        // of an answer
  std::string media_type;  // its Content-Type without parameters; empty: none, or more than one
  bool encoded = false;    // its body is compressed
  std::string error;       // for logs, when it was not answered
};

using HttpHeaders = std::vector<std::pair<std::string_view, std::string>>;

class HttpLink {
 public:
  HttpLink(asio::any_io_executor io, Url url, LinkLimits limits = {},
           Resolve resolve = resolve_by_system);
  ~HttpLink();
  HttpLink(const HttpLink&) = delete;
  HttpLink& operator=(const HttpLink&) = delete;

  // POST prefix + path, waiting for a connection and the answer for `time_max` in all. Never
  // throws, never sends twice.
  asio::awaitable<Exchange> post(std::string path, std::string body, HttpHeaders headers,
                                 std::chrono::milliseconds time_max);

  const Url& url() const { return url_; }
  std::size_t connections() const;
  // Connections that were closed because bytes came that nobody had asked for.
  std::uint64_t out_of_step() const;

 private:
  struct Impl;
  Url url_;
  std::shared_ptr<Impl> impl_;
};

}  // namespace txcoord::remote
