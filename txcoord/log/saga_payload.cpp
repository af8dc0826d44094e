// See saga_payload.hpp.
#include "txcoord/log/saga_payload.hpp"

#include "participants/operation_json.hpp"
#include "txcoord/base/json_reader.hpp"
#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/sha256.hpp"

namespace txcoord {
namespace {

// Of the format. Another one is refused: a saga is stuck rather than run half understood.
constexpr std::int64_t version = 1;
constexpr std::string_view what = "saga payload";

std::int64_t microseconds(UtcTime time) { return time.time_since_epoch().count(); }

}  // namespace

std::string to_payload(const Operation& operation) {
  JsonWriter out;
  out.begin_object()
      .field("version", version)
      .field("kind", kind_word(operation.kind))
      .field("order_id", operation.order_id)
      .field("scope", operation.scope)
      .field("idempotency_key", operation.idempotency_key)
      .field("fingerprint", to_hex(operation.fingerprint))
      .field("correlation_id", operation.correlation_id)
      .field("created_at", microseconds(operation.created_at))
      .field("answer", operation.answer);
  write_place(out, operation.place, {});
  out.field("mode", operation.mode)
      .field("transaction_id", operation.transaction_id)
      .field("accepted", operation.accepted);
  if (operation.reserve_until) out.field("reserve_until", microseconds(*operation.reserve_until));
  out.field("reason", operation.reason).end_object();
  return out.take();
}

Operation from_payload(std::string_view payload) {
  const auto parsed = parse_our_json(what, payload);
  const JsonReader reader(what, parsed);
  if (reader.integer("version") != version) reader.refuse("version", "is another program's");
  Operation operation;
  operation.kind = read_kind(reader);
  operation.order_id = reader.text("order_id");
  operation.scope = reader.text("scope");
  operation.idempotency_key = reader.text("idempotency_key");
  const auto fingerprint = sha256_from_hex(reader.text("fingerprint"));
  if (!fingerprint) reader.refuse("fingerprint", "is no SHA-256 in hex");
  operation.fingerprint = *fingerprint;
  operation.correlation_id = reader.text("correlation_id");
  operation.created_at = reader.time("created_at");
  operation.answer = reader.text("answer");
  const JsonReader place = reader.object("place");
  for (const char* const member : {"address", "payment_token"})  // never left out here
    if (!place.has(member)) place.refuse(member, "is missing");
  operation.place = read_place(place);
  operation.mode = reader.text("mode");
  operation.transaction_id = reader.text("transaction_id");
  operation.accepted = reader.flag("accepted");
  operation.reserve_until = reader.time_if("reserve_until");
  operation.reason = reader.text("reason");
  return operation;
}

}  // namespace txcoord
