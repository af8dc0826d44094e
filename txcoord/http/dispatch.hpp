// From a request to a reply: routing, the checks that every route shares, the handler, then
// headers, metrics and the log line that every reply gets.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <optional>
#include <string>

#include "txcoord/http/call.hpp"
#include "txcoord/http/dependencies.hpp"
#include "txcoord/http/door.hpp"
#include "txcoord/http/message.hpp"

namespace txcoord::http {

// What one server answers: its routes, and what stands behind them.
struct Surface {
  RouteSet routes;
  std::function<asio::awaitable<Reply>(Call&)> handle;
  std::string token = {};  // what readers and writers of data must bear; empty: nothing
  std::uint64_t body_bytes_max = 0;
};

class Dispatcher final : public RequestHandler {
 public:
  // The coordinator's.
  Dispatcher(const asio::any_io_executor& io, const HttpDependencies& dependencies);
  // Any other's. The metrics outlive it.
  Dispatcher(Surface surface, const HttpSettings& settings, Metrics& metrics);

  Judgement judge(const Request& request) override;
  // What a handler throws becomes a 500 problem.
  asio::awaitable<Reply> handle(const Request& request) override;

 private:
  // All that is known from the header: the route and its parameter in `call`, or the answer.
  std::optional<Reply> answer_by_header(const Request& request, Call& call) const;
  asio::awaitable<Reply> answer(const Request& request, Call& call);
  void finish(const Request& request, const Call& call, double seconds, Reply& reply);

  Surface surface_;
  Door door_;
  Metrics& metrics_;
};

}  // namespace txcoord::http
