// See ending.hpp.
#include "txcoord/cli/ending.hpp"

#include <signal.h>

#include <boost/system/system_error.hpp>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "txcoord/base/logging.hpp"

namespace txcoord::cli {
namespace {

constexpr std::chrono::seconds threads_join_max{2};  // and a second for the last lines

[[noreturn]] void say_and_abort() noexcept {
  std::string what = "an exception that is none of the standard's";
  try {
    if (const auto thrown = std::current_exception()) std::rethrow_exception(thrown);
    what = "std::terminate was called";
  } catch (const std::exception& error) {
    what = reason_of(error);
  } catch (...) {
  }
  try {
    logging::finish();
    logging::tell("txcoord: defect: " + what +
                  ". What is decided is durable: start it again, and "
                  "report this line.");
  } catch (...) {  // no thread, no memory: the exit code must do
  }
  std::abort();
}

}  // namespace

std::string reason_of(const std::exception& error) {
  const auto* of_system = dynamic_cast<const boost::system::system_error*>(&error);
  return of_system != nullptr ? of_system->code().message() : error.what();
}

void prepare_ending() { std::set_terminate(say_and_abort); }

void prepare_serving() {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
}

void end_soon(int exit_code) {
  std::thread([exit_code] {
    std::this_thread::sleep_for(threads_join_max);
    logging::warn("a call does not return: the process ends without waiting for it",
                  {{"exit_code", std::int64_t{exit_code}}});
    logging::finish();
    std::_Exit(exit_code);
  }).detach();
}

Hangups::Hangups(boost::asio::io_context& context) : signals_(context, SIGHUP) { wait(); }

void Hangups::wait() {
  signals_.async_wait([this](const boost::system::error_code& error, int) {
    if (error) return;
    logging::info(
        "SIGHUP: nothing is reloaded, settings are read at the start: restart to change "
        "them");
    wait();
  });
}

}  // namespace txcoord::cli
