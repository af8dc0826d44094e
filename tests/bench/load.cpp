// The load generator of ./run compare: orders over REST from one thread, to one JSON object.
//
//   closed loop (--connections N)           each connection sends when it has its answer
//   open loop   (--rate R --connections N)  arrivals at R a second whatever the answers do
//   (Poisson,
//                                           from the seed), served by at most N connections;
//                                           latency counts from the moment an order was meant to be
//                                           sent, so time in our own backlog is in it (no
//                                           coordinated omission)
//
// The measured part begins after --warm-up seconds, or when it is told (--until-told, told.hpp).
// Exit status: 0; 1 something failed; 3 the server does not offer what was asked for (501).
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cmath>
#include <deque>
#include <exception>
#include <iostream>
#include <stdexcept>

#include "tests/bench/load_client.hpp"
#include "tests/bench/told.hpp"

namespace {

using namespace txcoord::bench;

constexpr int exit_not_available = 3;

struct Options {
  std::string host = "127.0.0.1", answers;
  unsigned short port = 0;
  unsigned connections = 32;
  double rate = 0;  // orders a second; 0: closed loop
  double seconds = 5, warm_up = 1, drain = 15;
  unsigned backlog_max = 20'000;
  ToldSettings told;
  StreamSettings stream;
  ClientSettings client;
};

Clock::duration seconds_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

class Load {
 public:
  explicit Load(const Options& options) : options_(options), stream_(options.stream) {}

  void run() {
    window_.start = Clock::now();
    if (options_.told.until_told) {
      spawn(tell_windows());
      spawn(wait_to_be_told());
    } else {
      measure(window_.start + seconds_of(options_.warm_up));
    }
    for (unsigned i = 0; i < options_.connections; ++i) {
      spawn(options_.rate > 0 ? open_loop() : closed_loop());
    }
    if (options_.rate > 0) spawn(arrivals());
    context_.run();
    if (failure_) std::rethrow_exception(failure_);
  }

  void report() const {
    if (!options_.answers.empty())
      tally_.write_answers(options_.answers, options_.client.key_prefix);
    const double offered = options_.rate > 0 ? static_cast<double>(offered_) / options_.seconds : 0;
    std::cout << tally_.json(window_, offered) << std::endl;
  }

 private:
  struct Arrival {
    std::uint64_t index;
    Clock::time_point intended;
  };

  void measure(Clock::time_point from) {
    window_.measure(from, seconds_of(options_.seconds));
    give_up_ = window_.end + seconds_of(options_.drain);
  }

  asio::awaitable<void> tell_windows() {
    asio::steady_timer timer(context_);
    std::size_t told = 0;
    for (auto end = window_.start; window_.end == Clock::time_point::max();) {
      end += seconds_of(options_.told.window_s);
      if (end > window_.start + told_within)
        throw std::runtime_error("nobody told it when to begin to measure");
      timer.expires_at(end);
      auto waiting = timer.async_wait(asio::use_awaitable);
      co_await std::move(waiting);
      print_window(tally_.count() - told);
      told = tally_.count();
    }
  }

  asio::awaitable<void> wait_to_be_told() {
    asio::posix::stream_descriptor input(context_, ::dup(STDIN_FILENO));
    std::string line;
    boost::system::error_code ended;
    auto reading = asio::async_read_until(input, asio::dynamic_buffer(line), '\n',
                                          asio::redirect_error(asio::use_awaitable, ended));
    co_await std::move(reading);
    if (ended) throw std::runtime_error("nobody is there any more to tell it when to measure");
    measure(Clock::now());
  }

  void spawn(asio::awaitable<void> work) {
    asio::co_spawn(context_, std::move(work), [this](std::exception_ptr failure) {
      if (!failure || failure_) return;
      failure_ = failure;
      context_.stop();
    });
  }

  asio::awaitable<void> closed_loop() {
    OrderClient client(context_.get_executor(), options_.client, tally_.friction);
    while (Clock::now() < window_.end) {
      auto placing = client.place(stream_.at(next_index_++), Clock::now(), give_up_);
      tally_.add(co_await std::move(placing));
    }
  }

  // The time between two arrivals is exponential, and order i's is the same in every run.
  asio::awaitable<void> arrivals() {
    asio::steady_timer timer(context_);
    Clock::time_point intended = window_.start;
    while (true) {
      const std::uint64_t index = next_index_++;
      Draws draws(options_.stream.seed ^ 0xa771ULL, index);
      intended += seconds_of(-std::log1p(-draws.unit()) / options_.rate);
      if (intended >= window_.end) break;
      if (intended > Clock::now()) {
        timer.expires_at(intended);
        auto waiting = timer.async_wait(asio::use_awaitable);
        co_await std::move(waiting);
      }
      if (intended >= window_.measured_from) ++offered_;
      if (backlog_.size() >= options_.backlog_max) {
        ++tally_.not_sent;
        continue;
      }
      backlog_.push_back({index, intended});
      wake_one();
    }
    ended_ = true;
    for (asio::steady_timer* idle : idle_) idle->cancel();
  }

  asio::awaitable<void> open_loop() {
    OrderClient client(context_.get_executor(), options_.client, tally_.friction);
    asio::steady_timer idle(context_);
    while (true) {
      while (backlog_.empty() && !ended_) {
        idle.expires_at(Clock::time_point::max());
        idle_.push_back(&idle);
        boost::system::error_code woken;
        auto waiting = idle.async_wait(asio::redirect_error(asio::use_awaitable, woken));
        co_await std::move(waiting);
      }
      if (backlog_.empty()) co_return;
      const Arrival arrival = backlog_.front();
      backlog_.pop_front();
      auto placing = client.place(stream_.at(arrival.index), arrival.intended, give_up_);
      tally_.add(co_await std::move(placing));
    }
  }

  void wake_one() {
    if (idle_.empty()) return;
    asio::steady_timer* const idle = idle_.back();
    idle_.pop_back();
    idle->cancel();
  }

  const Options& options_;
  OrderStream stream_;
  Window window_;
  Clock::time_point give_up_ = Clock::time_point::max();
  Tally tally_;
  std::uint64_t next_index_ = 0, offered_ = 0;
  std::deque<Arrival> backlog_;            // bounded by backlog_max
  std::vector<asio::steady_timer*> idle_;  // connections that wait for an arrival
  bool ended_ = false;
  std::exception_ptr failure_;
  asio::io_context context_{1};  // last: coroutines that it still holds refer to the rest
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Orders over REST: the load generator of ./run compare"};
  app.add_option("--host", options.host);
  app.add_option("--port", options.port)->required();
  app.add_option("--key-prefix", options.client.key_prefix, "different for each run")->required();
  app.add_option("--connections", options.connections)->check(CLI::Range(1, 10'000));
  app.add_option("--rate", options.rate, "open loop: orders a second")->check(CLI::Range(0.0, 1e6));
  app.add_option("--seconds", options.seconds)->check(CLI::Range(0.1, 3600.0));
  app.add_option("--warm-up", options.warm_up)->check(CLI::Range(0.0, 600.0));
  app.add_flag("--until-told", options.told.until_told,
               "in place of --warm-up: a line on standard input begins the measured part");
  app.add_option("--window", options.told.window_s, "seconds that each line before that tells of")
      ->check(CLI::Range(0.05, 10.0));
  app.add_option("--drain", options.drain, "seconds for the last answers")
      ->check(CLI::Range(0.0, 600.0));
  app.add_option("--backlog-max", options.backlog_max)->check(CLI::Range(1, 10'000'000));
  app.add_option("--mode", options.client.mode)->check(CLI::IsMember({"2pc", "saga"}));
  app.add_option("--prefer", options.client.prefer);
  unsigned retry_after_ms_max = 1'000;
  app.add_option("--retry-after-ms-max", retry_after_ms_max, "cap on the server's Retry-After")
      ->check(CLI::Range(0, 60'000));
  app.add_option("--seed", options.stream.seed);
  app.add_option("--products", options.stream.products)->check(CLI::Range(2, 1'000'000));
  app.add_option("--wallets", options.stream.wallets)->check(CLI::Range(1, 1'000'000));
  app.add_option("--zipf", options.stream.zipf)->check(CLI::Range(0.0, 5.0));
  app.add_option("--refused", options.stream.refused_share)->check(CLI::Range(0.0, 1.0));
  app.add_option("--sku-prefix", options.stream.sku_prefix);
  app.add_option("--answers", options.answers, "file for one line an order");
  CLI11_PARSE(app, argc, argv);
  try {
    options.client.seed = options.stream.seed;
    options.client.retry_after_ms_max = std::chrono::milliseconds(retry_after_ms_max);
    options.client.server = {asio::ip::make_address(options.host), options.port};
    Load load(options);
    load.run();
    load.report();
    return 0;
  } catch (const NotAvailable& answer) {
    std::cerr << "load: " << answer.what() << "\n";
    return exit_not_available;
  } catch (const std::exception& error) {
    std::cerr << "load: " << error.what() << "\n";
    return 1;
  }
}
