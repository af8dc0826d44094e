// What is known of a write that is tried more than once.
//
// The rule, for every such write: an outcome that is unknown stays unknown until it is read,
// whatever later tries say. A try whose acknowledgement was lost may have taken effect, or may yet;
// that a later one was certainly refused says nothing about it. So "certainly not done" is said
// only if every try was certain, and only then may a caller act on it: answer "nothing was done",
// forget what may stand, leave a step out of what is undone.
//
// Who follows it: starts of sagas (saga_writes.cpp), steps (saga_work.cpp). Who needs no memory of
// it: a decision is sent once and then settled (protocol/two_phase.hpp); states, completions and
// compensations are repeated until they are acknowledged, and nothing else is concluded from them.
#pragma once

#include "txcoord/base/failure.hpp"

namespace txcoord::engine {

class Unacknowledged {
 public:
  // Takes in a try that failed. Returns what that means for the write as a whole.
  Failure failed(Failure failure) {
    may_stand_ = may_stand_ || failure.outcome_unknown;
    failure.outcome_unknown = may_stand_;
    return failure;
  }
  // A try that nobody here has seen may have been made.
  void presume() { may_stand_ = true; }
  // It was read, or acknowledged; or another write begins.
  void settled() { may_stand_ = false; }

  // An earlier try was not answered: the write may have taken effect, or may yet.
  bool may_stand() const { return may_stand_; }

 private:
  bool may_stand_ = false;
};

}  // namespace txcoord::engine
