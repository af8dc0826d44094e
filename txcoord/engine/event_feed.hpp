// Feeds events to a state machine one at a time: an action may come to its end before the step that
// made it returns, and its event then waits for its turn. Single-threaded. Shared by the drivers of
// both protocols.
#pragma once

#include <deque>
#include <utility>

namespace txcoord::engine {

template <class Event>
class EventFeed {
 public:
  // Calls step(event) for this event and for those that step makes come meanwhile.
  template <class Step>
  void deliver(Event event, Step step) {
    waiting_.push_back(std::move(event));
    if (stepping_) return;
    stepping_ = true;
    while (!waiting_.empty()) {
      const Event next = std::move(waiting_.front());
      waiting_.pop_front();
      step(next);
    }
    stepping_ = false;
  }

 private:
  std::deque<Event> waiting_;
  bool stepping_ = false;
};

}  // namespace txcoord::engine
