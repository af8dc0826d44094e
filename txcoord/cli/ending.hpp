// How a process that serves goes on and ends whatever its surroundings do: a terminal that hangs
// up, a library's call that never returns, an exception that nobody catches.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <exception>
#include <string>

namespace txcoord::cli {

// What happened, for a person: no positions in the source, which Boost adds to its messages.
std::string reason_of(const std::exception& error);

// First in main. What nobody catches is said on standard error before the process ends with SIGABRT
// (exit code 134), and waits for no reader.
void prepare_ending();

// First in what serves: a write to somebody who has gone is an error and no signal, and SIGHUP ends
// nothing, not even the start. Hangups is what hears it afterwards.
void prepare_serving();

// What serves is done, and its outcome is known: from here on the process ends within three
// seconds. Pools join their threads, and one of those may be in a name look-up of libpq, which
// nobody can cut.
void end_soon(int exit_code);

// SIGHUP: says so, and goes on. Nothing can be read again yet; what can be will be read from here.
class Hangups {
 public:
  explicit Hangups(boost::asio::io_context& context);

 private:
  void wait();

  boost::asio::signal_set signals_;
};

}  // namespace txcoord::cli
