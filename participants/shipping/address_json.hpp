// A shipping address as it is stored: a JSON object with the names of the REST contract.
// Personal data: never log either form.
#pragma once

#include <string>
#include <string_view>

#include "participants/operation.hpp"

namespace txcoord {

std::string address_to_json(const ShippingAddress& address);
// Throws std::runtime_error (which does not quote the text) on anything else.
ShippingAddress address_from_json(std::string_view text);

}  // namespace txcoord
