// `txcoord health URL`: asks once over HTTP, for containers and scripts that have no other client.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <exception>
#include <ostream>
#include <stdexcept>

#include "participants/remote/http_link.hpp"
#include "participants/remote/name_lookup.hpp"
#include "txcoord/cli/command_line.hpp"
#include "txcoord/cli/commands.hpp"
#include "txcoord/cli/ending.hpp"

namespace txcoord::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;

constexpr std::chrono::seconds time_max{3};
constexpr std::size_t answer_bytes_max = 1024 * 1024;

// The status; throws boost::system::system_error, or std::runtime_error for a name without address.
asio::awaitable<unsigned> ask(remote::Url url) {
  const auto io = co_await asio::this_coro::executor;
  // Asio's own resolver would keep the process until the system's look-up has ended.
  remote::NameLookup names(io, url.host, url.port);
  auto looking = names.find(std::chrono::steady_clock::now() + time_max);
  const remote::Addresses found = co_await std::move(looking);
  if (found.endpoints.empty()) throw std::runtime_error(found.error);
  beast::tcp_stream stream(io);
  co_await stream.async_connect(found.endpoints, asio::use_awaitable);
  const std::string path = url.prefix.empty() ? "/" : url.prefix;
  beast::http::request<beast::http::empty_body> request(beast::http::verb::get, path, 11);
  request.set(beast::http::field::host, url.authority());
  request.set(beast::http::field::connection, "close");
  co_await beast::http::async_write(stream, request, asio::use_awaitable);
  beast::flat_buffer buffer;
  beast::http::response_parser<beast::http::string_body> answer;
  answer.body_limit(answer_bytes_max);
  co_await beast::http::async_read(stream, buffer, answer, asio::use_awaitable);
  co_return answer.get().result_int();
}

}  // namespace

int run_health(const std::string& text, std::ostream& out, std::ostream& err) {
  remote::Url url;
  try {
    url = remote::parse_url(text);
  } catch (const std::invalid_argument& wrong) {
    err << "txcoord health: " << wrong.what() << "\n";
    return exit_usage;
  }
  std::string failure = "no answer in time";
  unsigned status = 0;
  asio::io_context context(1);
  asio::co_spawn(context, ask(std::move(url)),
                 [&](const std::exception_ptr& thrown, unsigned answered) {
                   status = answered;
                   try {
                     if (thrown) std::rethrow_exception(thrown);
                   } catch (const std::exception& problem) {
                     failure = reason_of(problem);
                   }
                 });
  // What is not answered by then is destroyed with the context.
  context.run_for(time_max);
  if (status == 200) {
    out << "200\n";
    return exit_ok;
  }
  err << "txcoord health: " << (status != 0 ? std::to_string(status) : failure) << "\n";
  return exit_failed;
}

}  // namespace txcoord::cli
