// One operation on its way through the engine: from the queue to its answer, and to applied.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "participants/operation.hpp"
#include "participants/row_keys.hpp"
#include "txcoord/engine/engine.hpp"

namespace txcoord::engine {

using SteadyTime = std::chrono::steady_clock::time_point;

struct Submission {
  Submission(const asio::any_io_executor& io, std::shared_ptr<const Operation> what)
      : operation(std::move(what)), rows(row_keys(*operation)), changed(io) {}

  std::shared_ptr<const Operation> operation;
  RowKeys rows;          // that it locks
  bool probe = false;    // in its group to see whether a row is still held
  std::string held_row;  // that it did not get the last time; empty: none
  std::string missing;   // what a participant lacked the last time; empty: nothing
  SteadyTime submitted_at{};
  SteadyTime not_before{};  // a retried operation waits a little
  SteadyTime give_up_at{};  // in the queue for longer than this: 503
  bool adopted = false;     // taken over from another process: nobody waits for it here
  std::optional<SubmitResult> result;
  bool awaited = false;        // somebody waits for the result: not left to others at shutdown
  bool applied = false;        // or will never be: nothing more to wait for
  asio::steady_timer changed;  // cancelled whenever result or applied changes
};
using SubmissionPtr = std::shared_ptr<Submission>;
using Submissions = std::vector<SubmissionPtr>;

}  // namespace txcoord::engine
