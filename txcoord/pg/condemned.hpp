// Which errors condemn the session they come from: it would answer the next caller in the same way,
// whatever the caller asks. The pool closes it, so that the next try gets a new one.
#pragma once

#include <cstdint>
#include <string_view>

namespace txcoord::pg {

enum class Condemned : std::uint8_t {
  nothing,  // the statement failed, and the next one may do
  session,  // this session's state is not what we think it is
  pool,     // and every session that was opened before has the same
};

Condemned condemned_by(std::string_view sqlstate);

}  // namespace txcoord::pg
