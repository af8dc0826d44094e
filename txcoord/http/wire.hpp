// Replies as bytes. By hand and not by Beast's serializer: one string, one write, no field list.
#pragma once

#include <string>
#include <string_view>

#include "txcoord/http/message.hpp"

namespace txcoord::http {

// Appends the whole reply. `close`: the connection ends after it.
void append_reply(std::string& out, const Reply& reply, bool close, bool http_1_1);

std::string_view status_text(int status);

}  // namespace txcoord::http
