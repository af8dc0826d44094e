// What a saga needs to go on after a crash, as JSON in the log: its operation, every field of it.
// Holds an address and a card's token: never logged, emptied when the saga ends.
#pragma once

#include <string>
#include <string_view>

#include "participants/operation.hpp"

namespace txcoord {

// from_payload(to_payload(operation)) is the operation, exactly, as long as its texts are UTF-8.
std::string to_payload(const Operation& operation);
// Throws JsonReadError for what to_payload() of this version did not write.
Operation from_payload(std::string_view payload);

}  // namespace txcoord
