// Names of the failure kinds, for logs and metric labels.
#include "txcoord/base/failure.hpp"

namespace txcoord {

std::string_view to_string(FailureKind kind) {
  switch (kind) {
    case FailureKind::unavailable: return "unavailable";
    case FailureKind::timeout: return "timeout";
    case FailureKind::deadlock: return "deadlock";
    case FailureKind::lock_timeout: return "lock_timeout";
    case FailureKind::poison: return "poison";
    case FailureKind::not_found: return "not_found";
    case FailureKind::busy: return "busy";
    case FailureKind::fenced: return "fenced";
    case FailureKind::error: return "error";
  }
  return "error";
}

}  // namespace txcoord
