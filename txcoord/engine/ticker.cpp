#include "txcoord/engine/ticker.hpp"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

namespace txcoord::engine {

boost::asio::awaitable<bool> Ticker::wait(std::chrono::milliseconds time) {
  if (stopped_) co_return false;
  if (!std::exchange(kicked_, false)) {
    timer_.expires_after(time);
    boost::system::error_code ignored;
    auto token = boost::asio::redirect_error(boost::asio::use_awaitable, ignored);
    co_await timer_.async_wait(token);
    kicked_ = false;
  }
  co_return !stopped_;
}

void Ticker::kick() {
  kicked_ = true;
  timer_.cancel();
}

void Ticker::stop() {
  stopped_ = true;
  timer_.cancel();
}

}  // namespace txcoord::engine
