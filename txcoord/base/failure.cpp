// Names of the failure kinds, for logs and metric labels, and our own words for failures.
#include "txcoord/base/failure.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace txcoord {
namespace {

struct Words {
  std::string_view sqlstate, text;
};

constexpr std::array<Words, 19> words{{
    {"08P01", "the server or a pooler does not understand the connection's parameters"},
    {"25006", "the server takes no writes: it is a standby, or was made read-only"},
    {"25P03", "the session was idle in its transaction for too long"},
    {"25P04", "the transaction took longer than the server allows"},
    {"28000", "the server does not let this role in (its name, or pg_hba.conf)"},
    {"28P01", "the server refuses the role's password"},
    {"3D000", "there is no such database"},
    {"40001", "a serialization conflict"},
    {"40P01", "a deadlock"},
    {"42501", "the role lacks a right"},
    {"53100", "the server's disk is full"},
    {"53200", "the server is out of memory"},
    {"53300", "the server has no connection left"},
    {"53400", "a limit of the server's configuration is reached"},
    {"55P03", "a lock was not free in time"},
    {"57014", "the statement took too long"},
    {"57P01", "the server is shutting down, or ended the session"},
    {"57P02", "the server crashed"},
    {"57P03", "the server is starting, or shutting down"},
}};

bool is_sqlstate(std::string_view text) {
  return text.size() == 5 && std::ranges::all_of(text, [](unsigned char c) {
           return std::isdigit(c) != 0 || (c >= 'A' && c <= 'Z');
         });
}

std::string_view words_of_kind(FailureKind kind) {
  switch (kind) {
    case FailureKind::unavailable: return "it cannot be reached";
    case FailureKind::timeout: return "it did not answer in time";
    case FailureKind::deadlock: return "a deadlock";
    case FailureKind::lock_timeout: return "a lock was not free in time";
    case FailureKind::poison: return "an operation can never succeed";
    case FailureKind::not_found: return "it is not there";
    case FailureKind::busy: return "somebody else is working on it";
    case FailureKind::fenced: return "another process took over";
    case FailureKind::unreadable: return "its answer is not understood";
    case FailureKind::error: break;
  }
  return "a defect, or a wrong configuration";
}

}  // namespace

std::string_view words_of_sqlstate(std::string_view sqlstate) {
  const auto* const found = std::ranges::find(words, sqlstate, &Words::sqlstate);
  return found == words.end() ? std::string_view() : found->text;
}

// What comes from a service may be anything: only what has a SQLSTATE's form is repeated.
std::string words_for_anybody(const Failure& failure) {
  if (failure.message_is_ours && !failure.message.empty()) return failure.message;
  std::string text(to_string(failure.kind));
  const std::string_view known = words_of_sqlstate(failure.sqlstate);
  text.append(": ").append(known.empty() ? words_of_kind(failure.kind) : known);
  if (is_sqlstate(failure.sqlstate))
    text.append(" (SQLSTATE ").append(failure.sqlstate).append("); see the log");
  return text;
}

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
    case FailureKind::unreadable: return "unreadable";
    case FailureKind::error: return "error";
  }
  return "error";
}

}  // namespace txcoord
