// See saga_payload.hpp.
#include "txcoord/log/saga_payload.hpp"

#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/sha256.hpp"

namespace txcoord {
namespace {

namespace json = boost::json;

// Of the format. Another one is refused: a saga is stuck rather than run half understood.
constexpr std::int64_t version = 1;

// The stored words: not to_string(), which people may change.
template <class T>
struct Named {
  T value;
  std::string_view name;
};
constexpr std::array<Named<OperationKind>, 7> kinds{{{OperationKind::place, "place"},
                                                     {OperationKind::cancel, "cancel"},
                                                     {OperationKind::ship, "ship"},
                                                     {OperationKind::deliver, "deliver"},
                                                     {OperationKind::create, "create"},
                                                     {OperationKind::confirm, "confirm"},
                                                     {OperationKind::fail, "fail"}}};
constexpr std::array<Named<PaymentMethod>, 2> payment_methods{
    {{PaymentMethod::wallet, "wallet"}, {PaymentMethod::card, "card"}}};

template <class T, std::size_t size>
std::string_view name_of(T value, const std::array<Named<T>, size>& words) {
  for (const Named<T>& word : words)
    if (word.value == value) return word.name;
  throw std::logic_error("saga payload: a value without a word");
}

// --- writing -------------------------------------------------------------------------------------

std::int64_t microseconds(UtcTime time) { return time.time_since_epoch().count(); }

void write_address(JsonWriter& out, const ShippingAddress& address) {
  out.key("address")
      .begin_object()
      .field("name", address.name)
      .field("postal_code", address.postal_code)
      .field("prefecture", address.prefecture)
      .field("city", address.city)
      .field("line1", address.line1)
      .field_set("line2", address.line2)
      .field_set("phone", address.phone)
      .end_object();
}

void write_place(JsonWriter& out, const PlaceOrder& place) {
  out.key("place").begin_object().field("customer_id", place.customer_id);
  out.key("items").begin_array();
  for (const OrderItem& item : place.items) {
    out.begin_object()
        .field("sku", item.sku)
        .field("quantity", item.quantity)
        .field("unit_price", item.unit_price)
        .field("reservation_id", item.reservation_id)
        .end_object();
  }
  out.end_array().field("total_amount", place.total_amount);
  write_address(out, place.address);
  out.field("payment_method", name_of(place.payment_method, payment_methods))
      .field("payment_token", place.payment_token)
      .field("payment_id", place.payment_id)
      .field("shipment_id", place.shipment_id)
      .end_object();
}

// --- reading -------------------------------------------------------------------------------------

[[noreturn]] void refuse(std::string_view field, const char* what) {
  throw PayloadError("saga payload: " + std::string(field) + " " + what);
}

// An object's members, each of which must be there with its type.
class Reader {
 public:
  Reader(const json::value& value, std::string name) : name_(std::move(name)) {
    if (!value.is_object()) refuse(name_, "is no object");
    object_ = &value.get_object();
  }

  std::string text(std::string_view member) const {
    const json::value& value = at(member);
    if (!value.is_string()) refuse(path(member), "is no text");
    return std::string(std::string_view(value.get_string()));
  }
  std::int64_t integer(std::string_view member) const {
    const json::value& value = at(member);
    if (!value.is_int64()) refuse(path(member), "is no 64-bit integer");
    return value.get_int64();
  }
  bool flag(std::string_view member) const {
    const json::value& value = at(member);
    if (!value.is_bool()) refuse(path(member), "is no boolean");
    return value.get_bool();
  }
  UtcTime time(std::string_view member) const {
    return UtcTime(std::chrono::microseconds(integer(member)));
  }
  std::optional<std::string> text_if(std::string_view member) const {
    return has(member) ? std::optional(text(member)) : std::nullopt;
  }
  std::optional<UtcTime> time_if(std::string_view member) const {
    return has(member) ? std::optional(time(member)) : std::nullopt;
  }
  Reader object(std::string_view member) const { return Reader(at(member), path(member)); }
  std::vector<Reader> objects(std::string_view member) const {
    const json::value& value = at(member);
    if (!value.is_array()) refuse(path(member), "is no array");
    std::vector<Reader> readers;
    for (const json::value& element : value.get_array())
      readers.emplace_back(element, path(member) + "[" + std::to_string(readers.size()) + "]");
    return readers;
  }
  // The value whose word stands there.
  template <class T, std::size_t size>
  T one_of(std::string_view member, const std::array<Named<T>, size>& words) const {
    const std::string name = text(member);
    for (const Named<T>& word : words)
      if (word.name == name) return word.value;
    refuse(path(member), "is not known");
  }
  std::string path(std::string_view member) const {
    return name_.empty() ? std::string(member) : name_ + "." + std::string(member);
  }

 private:
  bool has(std::string_view member) const { return object_->if_contains(member) != nullptr; }
  const json::value& at(std::string_view member) const {
    const json::value* const value = object_->if_contains(member);
    if (value == nullptr) refuse(path(member), "is missing");
    return *value;
  }

  std::string name_;
  const json::object* object_ = nullptr;
};

std::array<std::uint8_t, 32> read_fingerprint(const Reader& reader) {
  const std::string text = reader.text("fingerprint");
  std::array<std::uint8_t, 32> fingerprint{};
  constexpr std::string_view digits = "0123456789abcdef";
  if (text.size() != 2 * fingerprint.size() || text.find_first_not_of(digits) != std::string::npos)
    refuse(reader.path("fingerprint"), "is no SHA-256 in hex");
  for (std::size_t i = 0; i < fingerprint.size(); ++i)
    fingerprint[i] =
        static_cast<std::uint8_t>(digits.find(text[2 * i]) * 16 + digits.find(text[2 * i + 1]));
  return fingerprint;
}

ShippingAddress read_address(const Reader& reader) {
  ShippingAddress address;
  address.name = reader.text("name");
  address.postal_code = reader.text("postal_code");
  address.prefecture = reader.text("prefecture");
  address.city = reader.text("city");
  address.line1 = reader.text("line1");
  address.line2 = reader.text_if("line2");
  address.phone = reader.text_if("phone");
  return address;
}

PlaceOrder read_place(const Reader& reader) {
  PlaceOrder place;
  place.customer_id = reader.text("customer_id");
  for (const Reader& item : reader.objects("items"))
    place.items.push_back({item.text("sku"), item.integer("quantity"), item.integer("unit_price"),
                           item.text("reservation_id")});
  place.total_amount = reader.integer("total_amount");
  place.address = read_address(reader.object("address"));
  place.payment_method = reader.one_of("payment_method", payment_methods);
  place.payment_token = reader.text("payment_token");
  place.payment_id = reader.text("payment_id");
  place.shipment_id = reader.text("shipment_id");
  return place;
}

}  // namespace

std::string to_payload(const Operation& operation) {
  JsonWriter out;
  out.begin_object()
      .field("version", version)
      .field("kind", name_of(operation.kind, kinds))
      .field("order_id", operation.order_id)
      .field("scope", operation.scope)
      .field("idempotency_key", operation.idempotency_key)
      .field("fingerprint", to_hex(operation.fingerprint))
      .field("correlation_id", operation.correlation_id)
      .field("created_at", microseconds(operation.created_at))
      .field("answer", operation.answer);
  write_place(out, operation.place);
  out.field("mode", operation.mode)
      .field("transaction_id", operation.transaction_id)
      .field("accepted", operation.accepted);
  if (operation.reserve_until) out.field("reserve_until", microseconds(*operation.reserve_until));
  out.field("reason", operation.reason).end_object();
  return out.take();
}

Operation from_payload(std::string_view payload) {
  boost::system::error_code error;
  const json::value parsed = json::parse(json::string_view(payload.data(), payload.size()), error);
  if (error) throw PayloadError("saga payload: it is no JSON");
  const Reader reader(parsed, "");
  if (reader.integer("version") != version) refuse("version", "is another program's");
  Operation operation;
  operation.kind = reader.one_of("kind", kinds);
  operation.order_id = reader.text("order_id");
  operation.scope = reader.text("scope");
  operation.idempotency_key = reader.text("idempotency_key");
  operation.fingerprint = read_fingerprint(reader);
  operation.correlation_id = reader.text("correlation_id");
  operation.created_at = reader.time("created_at");
  operation.answer = reader.text("answer");
  operation.place = read_place(reader.object("place"));
  operation.mode = reader.text("mode");
  operation.transaction_id = reader.text("transaction_id");
  operation.accepted = reader.flag("accepted");
  operation.reserve_until = reader.time_if("reserve_until");
  operation.reason = reader.text("reason");
  return operation;
}

}  // namespace txcoord
