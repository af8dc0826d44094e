// A pause in a background loop that can be cut short: by a kick, or by stopping.
// Single-threaded; one loop waits on it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

namespace txcoord::engine {

class Ticker {
 public:
  explicit Ticker(const boost::asio::any_io_executor& io) : timer_(io) {}

  // False once stopped. A kick that came while nobody waited ends the next wait at once.
  boost::asio::awaitable<bool> wait(std::chrono::milliseconds time);
  void kick();
  void stop();
  bool stopped() const { return stopped_; }

 private:
  boost::asio::steady_timer timer_;
  bool kicked_ = false;
  bool stopped_ = false;
};

}  // namespace txcoord::engine
