// What recovery.cpp and recovery_log.cpp share: one pass over one participant.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "txcoord/engine/recovery.hpp"

namespace txcoord::engine {

// One pass over one participant, in the order that recovery_plan.hpp asks for.
struct Recovery::Pass {
  Participant& participant;
  const RecoveryIdentity& identity;
  protocol::RecoveryView view{};
  std::vector<Decision> incomplete{};  // read with T: after A; those that this process may finish
  std::set<std::string> unfinished_elsewhere{};  // coordinators of the others
  protocol::LogPoint log_now{};
  // Since this database was last told how far the log had come.
  bool log_may_lack_decisions = false;
  bool note_log = false;  // it has come further, or its change is dealt with
  std::chrono::steady_clock::time_point both_answered{};  // the database, then the log
};

}  // namespace txcoord::engine
