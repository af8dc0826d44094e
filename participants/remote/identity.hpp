// What makes an answer that of its question (docs/participant-protocol.md, "Identity"): members of
// both bodies, because a body is what no proxy cuts in two. Pure.
#pragma once

#include <string>
#include <string_view>

#include "txcoord/base/json_reader.hpp"

namespace txcoord::remote {

// What is longer is not repeated: an echo is bounded.
inline constexpr std::size_t identity_text_bytes_max = 128;

struct Identity {
  std::string call;
  std::string gid;  // empty: the call is about no single global transaction
  std::string request_id;

  bool operator==(const Identity&) const = default;
};

// `object`, a whole JSON object, with the members of a request's identity before its own. The gid
// is among its own already.
std::string request_text(const Identity& identity, std::string_view participant,
                         std::string_view object);
// `object` with the identity that it answers. An empty one, "{}", says that it was done.
std::string answer_text(const Identity& identity, std::string_view object);

// Of a request whose path says `participant` and `call`. Throws JsonReadError if its body says
// otherwise. `request_id`: of the header; it counts where the body, an older caller's, has none.
Identity identity_of_request(const JsonReader& reader, std::string_view participant,
                             std::string_view call, std::string_view request_id);

// Whether the answer repeats the identity. A failure may leave the gid out: it may have been told
// before the body was read. `why`, for people: what is missing or another's.
bool repeats(const JsonReader& answer, const Identity& identity, bool success, std::string& why);

// Of an answer that has the identity: throws JsonReadError unless it says that it was done, and
// nothing else.
void read_done(const JsonReader& reader);

}  // namespace txcoord::remote
