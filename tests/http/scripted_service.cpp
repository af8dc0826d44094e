// See scripted_service.hpp.
#include "tests/http/scripted_service.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include "participants/remote/remote_service.hpp"

namespace txcoord::testing {
namespace {

namespace beast_http = boost::beast::http;
using asio::ip::tcp;

HeardCall read_call(const beast_http::request<beast_http::string_body>& request) {
  const std::string target(request.target().data(), request.target().size());
  const std::string call = target.substr(target.rfind('/') + 1);
  const auto parsed = parse_our_json("a test's call", request.body());
  const JsonReader reader("a test's call", parsed);
  return {remote::identity_of_request(reader, "payment", call, {}), request.body()};
}

}  // namespace

std::string http_answer(const std::string& body, const std::string& status,
                        const std::string& media_type) {
  return "HTTP/1.1 " + status + "\r\nContent-Type: " + media_type +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string done_answer(const HeardCall& call) {
  return http_answer(remote::answer_text(call.identity, "{}"));
}

ScriptedService::ScriptedService(asio::any_io_executor io)
    : io_(std::move(io)), acceptor_(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
  answer = [](const HeardCall& call) { return std::vector{done_answer(call)}; };
  asio::co_spawn(io_, accept(), asio::detached);
}

std::string ScriptedService::url() const {
  return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
}

void ScriptedService::stop() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
}

std::size_t ScriptedService::count(const std::string& call) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      calls, [&](const HeardCall& heard) { return heard.identity.call == call; }));
}

asio::awaitable<void> ScriptedService::accept() {
  for (;;) {
    boost::system::error_code error;
    auto token = asio::redirect_error(asio::use_awaitable, error);
    tcp::socket socket = co_await acceptor_.async_accept(token);
    if (error) co_return;
    ++connections;
    asio::co_spawn(io_, serve(std::move(socket)), asio::detached);
  }
}

asio::awaitable<void> ScriptedService::serve(tcp::socket socket) {
  boost::system::error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  socket.set_option(tcp::no_delay(true), error);
  if (!greeting.empty()) co_await asio::async_write(socket, asio::buffer(greeting), token);
  boost::beast::flat_buffer buffer;
  while (!error) {
    beast_http::request<beast_http::string_body> request;
    co_await beast_http::async_read(socket, buffer, request, token);
    if (error) co_return;
    calls.push_back(read_call(request));
    const std::vector<std::string> pieces = answer(calls.back());
    if (pieces.empty()) co_return;
    for (const std::string& piece : pieces) {
      co_await asio::async_write(socket, asio::buffer(piece), token);
      if (error) co_return;
    }
    if (close_after_answer) co_return;
  }
}

}  // namespace txcoord::testing
