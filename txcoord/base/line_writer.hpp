// Lines to a file descriptor, by a thread of their own: whoever has something to say never waits
// for whoever reads it. A pipe that nobody empties, a stopped terminal or a full disk costs lines,
// which are counted, and nothing else.
//
// spdlog's asynchronous logger was looked at first: with a reader that has stopped its destructor
// waits for ever (it joins a thread that is in write()), and it does not say what it dropped.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace txcoord {

class LineWriter {
 public:
  struct Limits {
    std::size_t lines_max = 16'384;
    std::size_t bytes_max = 8 * 1024 * 1024;
  };
  // The line that tells of `lines` dropped ones.
  using Notice = std::function<std::string(std::uint64_t lines)>;

  // The descriptor stays the caller's, and stays open until finish() has said that all is written:
  // the thread goes on with its number, whoever that belongs to by then. Throws std::system_error
  // if there is no thread to be had.
  explicit LineWriter(int descriptor) : LineWriter(descriptor, Limits(), {}) {}
  LineWriter(int descriptor, Limits limits, Notice notice);
  // Waits for nothing: the thread writes what is queued if it can, and then ends.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // Queues the line; the line feed is added. Never blocks on the descriptor. When the queue is
  // full the line is dropped, and so are the next ones until half of it is written: a gap is told
  // by one notice, where it is. Any thread.
  void push(std::string line);

  // Waits until all is written, at most so long, and takes no more. False: something is left,
  // which the thread writes if the process lives on.
  bool finish(std::chrono::milliseconds wait_max);

  // Lines that nobody will read: the queue was full, or the descriptor refused them.
  std::uint64_t dropped() const;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace txcoord
