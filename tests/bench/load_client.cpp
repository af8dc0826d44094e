// See load_client.hpp.
#include "tests/bench/load_client.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/system/system_error.hpp>
#include <charconv>
#include <string_view>
#include <utility>

namespace txcoord::bench {
namespace {

namespace http = beast::http;
using std::chrono::milliseconds;

constexpr milliseconds connect_ms_max{2'000};
constexpr milliseconds pause_first{10}, pause_last{250};

constexpr std::string_view address =
    R"("shipping_address":{"name":"Tanaka Taro","postal_code":"150-0002","prefecture":"Tokyo",)"
    R"("city":"Shibuya","line1":"2-21-1 Shibuya"})";

// The text of a member that the server wrote compactly and that holds no escapes: ids, statuses,
// reasons. Reading the whole document would cost processors that are being measured.
std::string member(std::string_view json, std::string_view name) {
  const std::string start = "\"" + std::string(name) + "\":\"";
  const auto found = json.find(start);
  if (found == std::string_view::npos) return {};
  const auto begin = found + start.size();
  const auto end = json.find('"', begin);
  return std::string(json.substr(begin, end == std::string_view::npos ? 0 : end - begin));
}

milliseconds retry_after_of(const http::fields& headers) {
  const auto text = headers[http::field::retry_after];
  unsigned seconds = 0;
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return milliseconds(1000LL * std::min(seconds, 60U));
}

}  // namespace

OrderClient::OrderClient(asio::any_io_executor executor, const ClientSettings& settings,
                         Friction& friction)
    : executor_(std::move(executor)), settings_(settings), friction_(friction) {}

OrderClient::Request OrderClient::order_request(const BenchOrder& order) const {
  Request request(http::verb::post, "/v1/orders", 11);
  request.set(http::field::host, "localhost");
  request.set(http::field::content_type, "application/json");
  request.set("Idempotency-Key", key_of(settings_.key_prefix, order.index));
  if (!settings_.prefer.empty()) request.set("Prefer", settings_.prefer);
  std::string& body = request.body();
  body = "{\"customer_id\":\"" + order.customer + "\",\"items\":[";
  for (const BenchLine& line : order.lines) {
    if (&line != &order.lines.front()) body += ',';
    body += "{\"sku\":\"" + line.sku + "\",\"quantity\":" + std::to_string(line.quantity) +
            ",\"unit_price\":" + std::to_string(unit_price) + "}";
  }
  body.append("],").append(address);
  body += order.refusal == Refusal::card
              ? R"(,"payment_method":"card","payment_token":"tok_declined")"
              : R"(,"payment_method":"wallet")";
  if (!settings_.mode.empty()) body += ",\"mode\":\"" + settings_.mode + "\"";
  body += '}';
  request.prepare_payload();
  return request;
}

asio::awaitable<bool> OrderClient::exchange(const Request& request, Response& response) {
  try {
    if (!stream_) {
      stream_.emplace(executor_);
      buffer_.clear();
      stream_->expires_after(connect_ms_max);
      auto connecting = stream_->async_connect(settings_.server, asio::use_awaitable);
      co_await std::move(connecting);
      stream_->socket().set_option(asio::ip::tcp::no_delay(true));
    }
    stream_->expires_after(settings_.request_ms_max);
    auto writing = http::async_write(*stream_, request, asio::use_awaitable);
    co_await std::move(writing);
    auto reading = http::async_read(*stream_, buffer_, response, asio::use_awaitable);
    co_await std::move(reading);
    if (!response.keep_alive()) stream_.reset();
    co_return true;
  } catch (const boost::system::system_error&) {
    // Refused, reset, cut off or silent for too long: all the same to a client with a key.
    stream_.reset();
    ++friction_.reconnects;
    co_return false;
  }
}

bool OrderClient::judge(const Response& response, Answer& answer) {
  const unsigned status = response.result_int();
  const std::string reason = member(response.body(), "reason");
  switch (status) {
    case 200:
    case 201:
      answer.outcome = Outcome::confirmed;
      answer.order_id = member(response.body(), "order_id");
      return true;
    case 409:
      if (reason == "REQUEST_IN_FLIGHT") {
        ++friction_.in_flight;
        return false;
      }
      answer.outcome = Outcome::refused;
      answer.reason = reason;
      return true;
    case 503:
    case 504: ++friction_.unavailable; return false;
    case 501: throw NotAvailable("the server answers 501 " + reason);
    default:
      answer.outcome = Outcome::error;
      answer.reason = "HTTP " + std::to_string(status) + (reason.empty() ? "" : " " + reason);
      return true;
  }
}

asio::awaitable<bool> OrderClient::follow(std::string location, const Clock::time_point& give_up,
                                          Answer& answer) {
  Request request(http::verb::get, location, 11);
  request.set(http::field::host, "localhost");
  Draws jitter(settings_.seed ^ 0xf0110ULL, answer.index);
  for (unsigned attempt = 0; Clock::now() < give_up; ++attempt) {
    auto pausing = pause(attempt, nullptr, jitter);
    co_await std::move(pausing);
    Response response;
    auto asking = exchange(request, response);
    const bool answered = co_await std::move(asking);
    if (!answered || response.result_int() == 503) continue;
    if (response.result_int() != 200) co_return false;
    const std::string status = member(response.body(), "status");
    if (status == "PENDING") continue;
    const bool failed = status == "FAILED";
    answer.outcome = failed ? Outcome::refused : Outcome::confirmed;
    if (failed) answer.reason = member(response.body(), "reason");
    answer.order_id = member(response.body(), "order_id");
    co_return true;
  }
  co_return true;
}

asio::awaitable<void> OrderClient::pause(unsigned attempt, const Response* response,
                                         Draws& jitter) {
  milliseconds wait = std::min(pause_first * (1 << std::min(attempt, 10U)), pause_last);
  if (response != nullptr)
    wait = std::max(wait, std::min(retry_after_of(*response), settings_.retry_after_ms_max));
  // Half of it, and up to as much again: those that were turned away together do not come back so.
  const double factor = 0.5 + jitter.unit();
  asio::steady_timer timer(executor_);
  timer.expires_after(std::chrono::duration_cast<Clock::duration>(wait * factor));
  auto waiting = timer.async_wait(asio::use_awaitable);
  co_await std::move(waiting);
}

asio::awaitable<Answer> OrderClient::place(BenchOrder order, Clock::time_point intended,
                                           const Clock::time_point& give_up) {
  Answer answer{.index = order.index, .intended = intended};
  const Request request = order_request(order);
  Draws jitter(settings_.seed ^ 0x7e7eULL, order.index);
  for (unsigned attempt = 0; attempt == 0 || Clock::now() < give_up; ++attempt) {
    Response response;
    auto asking = exchange(request, response);
    const bool answered = co_await std::move(asking);
    if (answered && response.result_int() == 202) {
      ++friction_.accepted;
      auto following = follow(std::string(response[http::field::location]), give_up, answer);
      const bool found = co_await std::move(following);
      if (found) break;
    } else if (answered && judge(response, answer)) {
      break;
    }
    // Safe to send again whatever became of it: the key is the same (I5).
    auto pausing = pause(attempt, answered ? &response : nullptr, jitter);
    co_await std::move(pausing);
  }
  answer.answered = Clock::now();
  co_return answer;
}

}  // namespace txcoord::bench
