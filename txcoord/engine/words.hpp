// Words of others that are kept and shown: what a participant says of a refusal, what a failure is.
// Cleaned where they come in, so that no database and no reader refuses what holds them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "participants/participant.hpp"
#include "txcoord/base/failure.hpp"
#include "txcoord/base/utf8.hpp"
#include "txcoord/protocol/vote.hpp"

namespace txcoord::engine {

inline constexpr std::size_t reason_bytes_max = 64;
inline constexpr std::size_t detail_bytes_max = 500;

inline void clean(std::string& reason, std::string& detail) {
  reason = storable_text(reason, reason_bytes_max);
  detail = storable_text(detail, detail_bytes_max);
}
inline void clean(protocol::Votes& votes) {
  for (protocol::Vote& vote : votes) clean(vote.reason, vote.detail);
}
inline StepReply cleaned(StepReply reply) {
  clean(reply.reason, reply.detail);
  return reply;
}

// For people, and shown by the API: never a server's own words.
inline std::string describe(std::string_view where, const Failure& failure) {
  std::string text(where);
  text.append(": ").append(to_string(failure.kind));
  if (!failure.sqlstate.empty())
    text.append(" (").append(storable_text(failure.sqlstate, 5)).append(")");
  return text;
}

// For the log file: the failure, and whose it is.
inline Failure named(std::string_view where, Failure failure) {
  failure.message.insert(0, std::string(where) + ": ");
  return failure;
}

}  // namespace txcoord::engine
