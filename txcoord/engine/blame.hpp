// Whose failure it is when a batch fails: of one of its members, or of all.
// A failure stays with the one that meets it: what may lie with one member takes the batch apart,
// and the others go on without it.
#pragma once

#include <cstdint>

#include "txcoord/base/failure.hpp"
#include "txcoord/base/halves.hpp"

namespace txcoord::engine {

// After so many failures in company a member is tried by itself, whatever the cause: a trigger may
// raise any code, and a row may make the whole statement run into its deadline.
inline constexpr std::uint32_t tries_in_company_max = 5;

// True if one member may be the cause: a value, a constraint, a trigger, a row that somebody holds.
inline bool may_lie_with_one(const Failure& failure) {
  switch (failure.kind) {
    case FailureKind::poison:
    case FailureKind::unreadable:
    case FailureKind::error:
    case FailureKind::lock_timeout:
    case FailureKind::deadlock:
    case FailureKind::busy:
    case FailureKind::not_found: return true;
    // 57014: a statement ran too long. Our own deadline has no SQLSTATE: the database was silent.
    case FailureKind::timeout: return !failure.sqlstate.empty();
    case FailureKind::unavailable:
    case FailureKind::fenced: return false;
  }
  return false;
}

// The same of a participant's work. What says neither a SQLSTATE nor a kind of its own is a defect,
// or a fault set on purpose: whoever is asked next meets it too.
inline bool work_may_lie_with_one(const Failure& failure) {
  return may_lie_with_one(failure) &&
         (failure.kind != FailureKind::error || !failure.sqlstate.empty());
}

}  // namespace txcoord::engine
