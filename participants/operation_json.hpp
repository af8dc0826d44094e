// An operation as JSON: whole, for the payload of a saga in the log; and the part of it that one
// participant is sent (docs/participant-protocol.md).
#pragma once

#include <string_view>

#include "participants/operation.hpp"
#include "txcoord/base/json_reader.hpp"
#include "txcoord/base/json_writer.hpp"

namespace txcoord {

// The words for kinds and payment methods, on disk and on the wire.
std::string_view kind_word(OperationKind kind);
OperationKind read_kind(const JsonReader& reader);  // the member "kind"; throws JsonReadError

// Who is told the personal parts of an order: an address, a card's token.
struct OrderPrivacy {
  bool with_address = true, with_token = true;
};

// The member `name`: an order to place. read_place() of it is the same order, without what was left
// out. Texts must be UTF-8.
void write_place(JsonWriter& out, const PlaceOrder& place, OrderPrivacy privacy);
PlaceOrder read_place(const JsonReader& reader);  // of the object; throws JsonReadError

// The member "address".
void write_address(JsonWriter& out, const ShippingAddress& address);
ShippingAddress read_address(const JsonReader& reader);  // of the object; throws JsonReadError

// An operation as `participant` is sent it: without the idempotency key and the stored answer, with
// an address for shipping alone and a token for payment alone.
void write_operation(JsonWriter& out, const Operation& operation, std::string_view participant);
Operation read_operation(const JsonReader& reader);  // throws JsonReadError

}  // namespace txcoord
