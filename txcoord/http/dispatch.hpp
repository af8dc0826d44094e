// From a request to a reply: routing, the checks that every route shares, the handler, then
// headers, metrics and the log line that every reply gets.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>

#include "txcoord/http/api.hpp"
#include "txcoord/http/message.hpp"

namespace txcoord::http {

class Dispatcher {
 public:
  explicit Dispatcher(const asio::any_io_executor& io, HttpDependencies dependencies);

  // Never throws: what a handler throws becomes a 500 problem.
  asio::awaitable<Reply> handle(const Request& request);

 private:
  asio::awaitable<Reply> answer(const Request& request, Call& call);

  HttpDependencies dependencies_;
  Api api_;
};

}  // namespace txcoord::http
