// See test_server.hpp.
#include "tests/http/test_server.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>
#include <boost/json/parse.hpp>
#include <stdexcept>

#include "txcoord/base/logging.hpp"

namespace txcoord::testing {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

constexpr timeval read_deadline{.tv_sec = 10, .tv_usec = 0};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return text;
}

}  // namespace

std::string Response::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

json::value Response::parsed() const { return json::parse(body); }

Client::Client(std::uint16_t port) : socket_(io_) {
  socket_.connect(tcp::endpoint(asio::ip::address_v4::loopback(), port));
  ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &read_deadline,
               sizeof read_deadline);
}

void Client::send(std::string_view bytes) {
  boost::system::error_code
      ignored;  // the server may have refused and closed already: what it said counts
  asio::write(socket_, asio::buffer(bytes.data(), bytes.size()), ignored);
}

// With plain recv: Asio's own reads would wait past the socket's timeout.
bool Client::fill() {
  char bytes[8192];
  const ssize_t got = ::recv(socket_.native_handle(), bytes, sizeof bytes, 0);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
    throw std::runtime_error("the server said nothing for 10 s");
  if (got <= 0) return false;
  buffer_.append(bytes, static_cast<std::size_t>(got));
  return true;
}

std::string Client::receive_until(std::string_view mark) {
  std::size_t end = 0;
  while ((end = buffer_.find(mark)) == std::string::npos) {
    if (!fill()) throw std::runtime_error("the connection ended early, after: " + buffer_);
  }
  std::string taken = buffer_.substr(0, end + mark.size());
  buffer_.erase(0, taken.size());
  return taken;
}

Response Client::receive(bool head) {
  Response response;
  const std::string header = receive_until("\r\n\r\n");
  response.status = std::stoi(header.substr(9, 3));
  std::size_t at = header.find("\r\n") + 2;
  while (at < header.size() - 2) {
    const std::size_t end = header.find("\r\n", at);
    const std::string line = header.substr(at, end - at);
    const std::size_t colon = line.find(": ");
    response.headers.emplace(lower(line.substr(0, colon)), line.substr(colon + 2));
    at = end + 2;
  }
  const std::string length = response.header("content-length");
  const std::size_t size = head || length.empty() ? 0 : std::stoul(length);
  while (buffer_.size() < size) {
    if (!fill()) throw std::runtime_error("the body ended early");
  }
  response.body = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return response;
}

bool Client::closed() { return buffer_.empty() && !fill(); }

Response Client::request(std::string_view method, std::string_view path, std::string_view body,
                         std::string_view more_headers) {
  std::string bytes;
  bytes.append(method)
      .append(" ")
      .append(path)
      .append(" HTTP/1.1\r\nHost: test\r\n")
      .append(more_headers);
  if (!body.empty()) {
    bytes.append("Content-Type: application/json\r\nContent-Length: ")
        .append(std::to_string(body.size()))
        .append("\r\n");
  }
  bytes.append("\r\n").append(body);
  send(bytes);
  return receive(method == "HEAD");
}

TestServer::TestServer(std::function<void(Settings&)> adjust) {
  logging::start("error");  // what the tests provoke is not news
  settings_.http.port = 0;
  settings_.http.hosts_allowed = "test, t";  // what the tests call it
  settings_.http.read_wait_ms_max = 300;
  if (adjust) adjust(settings_);
  std::map<std::string, FaultyParticipant*> faults;
  for (const char* name : {"order", "inventory", "payment", "shipping"}) {
    participants_[name] = std::make_unique<FakeParticipant>(name, script_);
    faults_[name] = std::make_unique<FaultyParticipant>(*participants_[name], 1);
    faults[name] = faults_[name].get();
  }
  dispatcher_ = std::make_unique<http::Dispatcher>(io_.get_executor(),
                                                   http::HttpDependencies{engine,
                                                                          orders_,
                                                                          inventory_,
                                                                          payments_,
                                                                          shipping_,
                                                                          log_,
                                                                          world.saga_log,
                                                                          world.lost_log,
                                                                          lost_sagas,
                                                                          metrics,
                                                                          settings_,
                                                                          std::move(faults),
                                                                          {}});
  server_ = std::make_unique<http::Server>(io_.get_executor(), settings_.http, *dispatcher_);
  server_->start();
  thread_ = std::thread([this] { io_.run(); });
}

TestServer::~TestServer() {
  io_.stop();
  thread_.join();
  engine.drop_gate();
}

std::future<void> TestServer::spawn(asio::awaitable<void> work) {
  return asio::co_spawn(io_, std::move(work), asio::use_future);
}

std::string order_body(const std::map<std::string, std::string>& fields) {
  std::map<std::string, std::string> members = {
      {"customer_id", R"("customer-001")"},
      {"items",
       R"([{"sku":"book-123","quantity":2,"unit_price":3500},{"sku":"book-789","quantity":1,"unit_price":2800}])"},
      {"shipping_address",
       R"({"name":"田中太郎","postal_code":"100-0001","prefecture":"東京都","city":"千代田区","line1":"1-1"})"},
      {"payment_method", R"("wallet")"}};
  for (const auto& [name, text] : fields) members[name] = text;
  std::string body = "{";
  for (const auto& [name, text] : members) {
    if (text.empty()) continue;
    if (body.size() > 1) body += ',';
    body += '"' + name + "\":" + text;
  }
  return body + "}";
}

std::string key_header(std::string_view key) {
  return "Idempotency-Key: " + std::string(key) + "\r\n";
}

}  // namespace txcoord::testing
