// Identifiers made by us: uuid v7 (time-ordered, so that index inserts stay local), random hex.
#pragma once

#include <string>
#include <string_view>

namespace txcoord {

std::string uuid_v7();                   // lower case, 36 characters; monotonic within a process
bool valid_uuid(std::string_view text);  // canonical 36-character lower-case form, any version
std::string random_hex(std::size_t digits);  // from the system's random source

}  // namespace txcoord
