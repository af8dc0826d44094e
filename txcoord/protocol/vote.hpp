// A participant's vote on one operation of a group.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace txcoord::protocol {

enum class Answer : std::uint8_t {
  yes,
  no,         // a business refusal, with its reason
  duplicate,  // the log only: the key was claimed before; the stored answer counts
  retry,  // it cannot be judged now (rows of a decided order are missing, or somebody else holds
          // a row that it needs): judge later, record nothing
};

struct Vote {
  Answer answer = Answer::yes;
  // A refusal that no other operation of the group can have caused (an unknown SKU, a declined
  // card). A refusal that is not final may be undone when an earlier operation falls.
  bool final = true;
  std::string reason;  // OUT_OF_STOCK …, empty for yes
  std::string detail;  // for people: which SKU, how many were left
  // For retry: the row that somebody else holds, "participant/row", opaque here. Empty: no row is
  // held. May hold a customer's id: it is compared, never logged.
  std::string busy{};
  // Who holds that row, opaque and comparable: the same transaction has the same name, another one
  // another. Empty: the voter cannot tell.
  std::string holder{};

  bool operator==(const Vote&) const = default;
};

using Votes = std::vector<Vote>;

}  // namespace txcoord::protocol
