// From a request to a reply: routing, the checks that every route shares, the handler, then
// headers, metrics and the log line that every reply gets.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <optional>

#include "txcoord/http/call.hpp"
#include "txcoord/http/dependencies.hpp"
#include "txcoord/http/message.hpp"

namespace txcoord::http {

// What one server answers: its routes, and what stands behind them.
struct Surface {
  RouteSet routes;
  std::function<asio::awaitable<Reply>(Call&)> handle;
  // A problem: this caller is refused, before anything of the request is read. Empty: all may ask.
  std::function<std::optional<Problem>(const Request&, const Route&)> refuse;
};

class Dispatcher {
 public:
  // The coordinator's.
  Dispatcher(const asio::any_io_executor& io, const HttpDependencies& dependencies);
  // Any other's. The metrics outlive it.
  Dispatcher(Surface surface, Metrics& metrics);

  // Never throws: what a handler throws becomes a 500 problem.
  asio::awaitable<Reply> handle(const Request& request);

 private:
  asio::awaitable<Reply> answer(const Request& request, Call& call);

  Surface surface_;
  Metrics& metrics_;
};

}  // namespace txcoord::http
