// A station: work that waits at one place and is done in batches, as soon as a lane is free
// (natural batching: no timer, a lone item goes at once). Single-threaded.
//
// Bounds: items_max in a batch, `lanes` batches under way. What waits is bounded by who pushes.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace txcoord::engine {

struct StationLimits {
  std::size_t items_max = 128;
  std::size_t lanes = 1;
};

template <class Item>
class Station {
 public:
  using Batch = std::vector<Item>;
  // Work on one batch. What it throws is a defect: `on_defect` is told.
  using Work = std::function<boost::asio::awaitable<void>(Batch)>;
  using OnDefect = std::function<void(const std::exception_ptr&)>;

  Station(boost::asio::any_io_executor io, StationLimits limits, Work work, OnDefect on_defect)
      : io_(std::move(io)),
        limits_(limits),
        work_(std::move(work)),
        on_defect_(std::move(on_defect)) {}

  // Items of one kind share a batch; kinds take turns in order of arrival.
  void push(std::string kind, Item item) {
    waiting_.push_back({std::move(kind), std::move(item)});
    pump();
  }
  std::size_t waiting() const { return waiting_.size(); }
  bool idle() const { return waiting_.empty() && running_ == 0; }

 private:
  struct Waiting {
    std::string kind;
    Item item;
  };

  void pump() {
    while (running_ < limits_.lanes && !waiting_.empty()) {
      ++running_;
      boost::asio::co_spawn(io_, run(next_batch()), [this](const std::exception_ptr& error) {
        if (error) on_defect_(error);
        --running_;
        pump();
      });
    }
  }

  // Everything of the kind that has waited longest, up to the limit; the rest keeps its order.
  Batch next_batch() {
    Batch batch;
    std::deque<Waiting> passed;
    const std::string kind = waiting_.front().kind;
    while (!waiting_.empty() && batch.size() < limits_.items_max) {
      Waiting entry = std::move(waiting_.front());
      waiting_.pop_front();
      if (entry.kind == kind) {
        batch.push_back(std::move(entry.item));
      } else {
        passed.push_back(std::move(entry));
      }
    }
    waiting_.insert(waiting_.begin(), std::make_move_iterator(passed.begin()),
                    std::make_move_iterator(passed.end()));
    return batch;
  }

  boost::asio::awaitable<void> run(Batch batch) {
    auto work = work_(std::move(batch));
    co_await std::move(work);
  }

  boost::asio::any_io_executor io_;
  StationLimits limits_;
  Work work_;
  OnDefect on_defect_;
  std::deque<Waiting> waiting_;
  std::size_t running_ = 0;
};

}  // namespace txcoord::engine
