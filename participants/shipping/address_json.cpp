// Addresses to and from jsonb, by Boost.JSON.
#include "participants/shipping/address_json.hpp"

#include <boost/json.hpp>
#include <optional>
#include <stdexcept>

namespace txcoord {
namespace {

namespace json = boost::json;

std::optional<std::string> optional_member(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (!value->is_string())
    throw std::runtime_error("a stored address has a member that is not text");
  return std::string(value->get_string());
}

std::string member(const json::object& object, std::string_view name) {
  std::optional<std::string> text = optional_member(object, name);
  if (!text) throw std::runtime_error("a stored address lacks " + std::string(name));
  return *std::move(text);
}

}  // namespace

std::string address_to_json(const ShippingAddress& address) {
  json::object object{{"name", address.name},
                      {"postal_code", address.postal_code},
                      {"prefecture", address.prefecture},
                      {"city", address.city},
                      {"line1", address.line1}};
  if (address.line2) object["line2"] = *address.line2;
  if (address.phone) object["phone"] = *address.phone;
  return json::serialize(object);
}

ShippingAddress address_from_json(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object())
    throw std::runtime_error("a stored address is not a JSON object");
  const json::object& object = value.get_object();
  ShippingAddress address;
  address.name = member(object, "name");
  address.postal_code = member(object, "postal_code");
  address.prefecture = member(object, "prefecture");
  address.city = member(object, "city");
  address.line1 = member(object, "line1");
  address.line2 = optional_member(object, "line2");
  address.phone = optional_member(object, "phone");
  return address;
}

}  // namespace txcoord
