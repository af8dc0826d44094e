// What went wrong when talking to a database or a participant, as a value.
// One function classifies libpqxx's exceptions into it (txcoord/pg/classify.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace txcoord {

enum class FailureKind : std::uint8_t {
  unavailable,   // SQLSTATE 08, 53, 57P, no connection: nothing is known to be wrong with the work
  timeout,       // our own deadline ran out, or 57014 (statement_timeout)
  deadlock,      // 40P01: may be retried whole
  lock_timeout,  // 55P03: may be retried whole
  poison,        // class 22, 23, 44, 54, P0: one of the operations can never succeed
  not_found,     // 42704: no such prepared transaction. Proves nothing by itself
  busy,          // 55000: another session is finishing the same prepared transaction
  fenced,        // our epoch is no longer the coordinator's: stop deciding
  unreadable,    // a service answered, and not as the protocol says: one operation may be why
  error,         // everything else: a defect or a misconfiguration
};

std::string_view to_string(FailureKind kind);

struct Failure {
  FailureKind kind = FailureKind::error;
  // True when the statement may have taken effect, or may still take effect later:
  // the acknowledgement was lost, not refused. Never retry blindly when this is set.
  bool outcome_unknown = false;
  std::string sqlstate;  // five characters, empty when the server said nothing
  std::string message;   // for logs; what a client is shown is words_for_anybody()
  // The message was written here, out of nothing that a server or a service said.
  bool message_is_ours = false;
};

// For a reader who may be anybody: the kind and the SQLSTATE, in our own words. What a server or
// libpq said may quote a password, a row, a host's name.
std::string words_for_anybody(const Failure& failure);
// What our own words for this SQLSTATE are; empty for one without.
std::string_view words_of_sqlstate(std::string_view sqlstate);

// A value or a failure. Result<void> is Result<std::monostate>.
template <class T>
class Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Failure failure) : state_(std::in_place_index<1>, std::move(failure)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // Precondition: ok().
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T value() && { return std::get<0>(std::move(state_)); }
  // Precondition: !ok().
  const Failure& failure() const { return std::get<1>(state_); }

 private:
  std::variant<T, Failure> state_;
};

using Done = std::monostate;

}  // namespace txcoord
