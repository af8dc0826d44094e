// Orders that change something: place, cancel, ship, deliver. Each becomes an operation for the
// engine.
#include <charconv>
#include <set>

#include "txcoord/base/ids.hpp"
#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/http/api.hpp"
#include "txcoord/http/gather.hpp"
#include "txcoord/http/schemas.hpp"

namespace txcoord::http {
namespace {

// How often to look at the Location of a 202.
constexpr const char* look_again_s = "1";

bool is_sku(std::string_view text) { return check_text(schemas::sku, "sku", text).empty(); }

std::string text_at(const json::object& object, const char* name) {
  const json::string& text = object.at(name).get_string();
  return {text.data(), text.size()};
}

std::optional<std::string> text_if(const json::object& object, const char* name) {
  if (!object.contains(name)) return std::nullopt;
  return text_at(object, name);
}

ShippingAddress read_address(const json::object& object) {
  ShippingAddress address;
  address.name = text_at(object, "name");
  address.postal_code = text_at(object, "postal_code");
  address.prefecture = text_at(object, "prefecture");
  address.city = text_at(object, "city");
  address.line1 = text_at(object, "line1");
  address.line2 = text_if(object, "line2");
  address.phone = text_if(object, "phone");
  return address;
}

// Reads a body that keeps to its schema; what the schema cannot say is added to `errors`.
PlaceOrder read_place(const json::object& body, std::vector<FieldError>& errors) {
  PlaceOrder place;
  place.customer_id = text_at(body, "customer_id");
  std::set<std::string> skus;
  const json::array& items = body.at("items").get_array();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const json::object& line = items[i].get_object();
    OrderItem item;
    item.sku = text_at(line, "sku");
    item.quantity = line.at("quantity").get_int64();
    item.unit_price = line.at("unit_price").get_int64();
    const std::string field = "items[" + std::to_string(i) + "]";
    if (!skus.insert(item.sku).second) errors.push_back({field + ".sku", "is in the order twice"});
    Money amount = 0;
    if (__builtin_mul_overflow(item.quantity, item.unit_price, &amount) ||
        __builtin_add_overflow(place.total_amount, amount, &place.total_amount)) {
      errors.push_back({field, "makes the total larger than 64 bits hold"});
      break;
    }
    place.items.push_back(std::move(item));
  }
  place.address = read_address(body.at("shipping_address").get_object());
  const bool card = text_at(body, "payment_method") == "card";
  place.payment_method = card ? PaymentMethod::card : PaymentMethod::wallet;
  if (card) place.payment_token = text_if(body, "payment_token").value_or("tok_ok");
  if (!card && body.contains("payment_token"))
    errors.push_back({"payment_token", "is for payment_method card"});
  return place;
}

// The request with its defaults, in one fixed form: what the fingerprint is taken of (I5).
std::string canonical_place(const PlaceOrder& place, std::string_view mode) {
  JsonWriter out;
  out.begin_object().field("customer_id", place.customer_id).key("items").begin_array();
  for (const OrderItem& item : place.items) {
    out.begin_object()
        .field("sku", item.sku)
        .field("quantity", item.quantity)
        .field("unit_price", item.unit_price)
        .end_object();
  }
  out.end_array().key("shipping_address").begin_object();
  out.field("name", place.address.name)
      .field("postal_code", place.address.postal_code)
      .field("prefecture", place.address.prefecture)
      .field("city", place.address.city)
      .field("line1", place.address.line1)
      .field_set("line2", place.address.line2)
      .field_set("phone", place.address.phone)
      .end_object();
  out.field("payment_method", to_string(place.payment_method))
      .field_if("payment_token", place.payment_token)
      .field_if("mode", mode)
      .end_object();
  return out.take();
}

// What a detail of the inventory says of a product ("book-123: now 3500", "book-123: 1 left"), as
// members: clients are not to read prose.
void name_product(std::string_view reason, std::string_view detail, Problem& problem) {
  if (reason == "UNKNOWN_SKU" && is_sku(detail)) problem.sku = detail;
  const bool price = reason == "PRICE_CHANGED";
  if (!price && reason != "OUT_OF_STOCK") return;
  constexpr std::string_view now = ": now ";
  constexpr std::string_view separator = ": ";
  const std::size_t end = detail.find(price ? now : separator);
  if (end == std::string_view::npos) return;
  std::string_view number = detail.substr(end + (price ? now : separator).size());
  std::int64_t value = 0;
  const auto [last, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc{} || !is_sku(detail.substr(0, end))) return;
  problem.sku = detail.substr(0, end);
  (price ? problem.unit_price : problem.available) = value;
}

// A business refusal: the same under its key for ever (I10), so it holds nothing that changes.
// A saga that ran out of tries is one too: its order has failed, whoever was away.
Reply refusal(std::string_view reason, const std::string& detail) {
  const ReasonInfo& info = reason_info(reason);
  Problem problem{.status = info.status == 503 ? 409 : info.status,
                  .reason = reason,
                  .detail = detail.empty() ? std::string(info.title) : detail};
  name_product(reason, detail, problem);
  return problem_reply(problem);
}

engine::Protocol protocol_of(std::string_view mode) {
  return mode == "saga" ? engine::Protocol::saga : engine::Protocol::two_phase;
}

// RFC 7240: which preferences the answer was made by.
void add_preferences(const Preferences& prefer, const engine::SubmitOptions& options,
                     const engine::SubmitResult& result, Reply& reply) {
  std::string applied;
  const auto add = [&](const std::string& preference) {
    applied += (applied.empty() ? "" : ", ") + preference;
  };
  const bool confirmed = result.status == engine::SubmitStatus::confirmed;
  if (prefer.applied && confirmed && result.applied) add("applied");
  if (prefer.respond_async && result.status == engine::SubmitStatus::accepted) add("respond-async");
  const bool waited = result.status == engine::SubmitStatus::unknown;
  if (prefer.wait && waited && options.wait_max == *prefer.wait)
    add("wait=" + std::to_string(prefer.wait->count()));
  if (!applied.empty()) reply.headers.emplace_back("Preference-Applied", std::move(applied));
}

std::string order_location(std::string_view order_id) {
  return "/v1/orders/" + std::string(order_id);
}

}  // namespace

std::shared_ptr<Operation> Api::new_operation(const Call& call, OperationKind kind,
                                              std::string order_id,
                                              std::string_view canonical) const {
  auto operation = std::make_shared<Operation>();
  operation->kind = kind;
  operation->order_id = std::move(order_id);
  operation->scope = scope_of(*call.route);
  operation->idempotency_key = call.key;
  operation->fingerprint = fingerprint_of(call, canonical);
  operation->correlation_id = call.correlation_id;
  operation->created_at = now_utc();
  return operation;
}

asio::awaitable<Reply> Api::place_order(Call& call) {
  const json::object& body = call.body->get_object();
  std::vector<FieldError> errors;
  PlaceOrder place = read_place(body, errors);
  if (!errors.empty())
    co_return problem_reply(validation_problem(422, "the order is not valid", std::move(errors)));
  // The fingerprint holds the mode only as the client named it: the default may change while a
  // client still repeats its request (I5, I10).
  const std::string named = text_if(body, "mode").value_or("");
  const std::string mode = named.empty() ? d_.settings.default_mode : named;
  auto operation =
      new_operation(call, OperationKind::place, uuid_v7(), canonical_place(place, named));
  for (OrderItem& item : place.items) item.reservation_id = uuid_v7();
  place.payment_id = uuid_v7();
  place.shipment_id = uuid_v7();
  // What an operator has postponed is due later, and only a saga can wait for it. An accepted order
  // waits anyway.
  const engine::DegradedModes degraded = d_.engine.degraded();
  if (!call.prefer.respond_async) {
    place.pay_later = degraded.pay_later;
    place.ship_by_hand = degraded.ship_by_hand;
  }
  operation->mode = place.something_due() ? "saga" : mode;
  operation->place = std::move(place);
  operation->answer = write_answer(document_of(*operation, d_.settings.currency));
  call.order_id = operation->order_id;
  auto submitting = submit(call, std::move(operation), protocol_of(mode));
  co_return co_await std::move(submitting);
}

asio::awaitable<Reply> Api::cancel_order(Call& call) {
  call.order_id = call.id;
  const std::string named =
      call.body ? text_if(call.body->get_object(), "mode").value_or("") : std::string();
  const std::string mode = named.empty() ? d_.settings.default_mode : named;
  auto looking = overlay(call.id);
  const auto seen = co_await std::move(looking);
  if (!seen) co_return problem_reply(participant_unavailable("log", seen.failure()));
  auto reading = within(io_, read_wait(), d_.orders.order(call.id));
  const auto row = co_await std::move(reading);

  OrderDocument document;
  if (row.ok() && row.value()) {
    document = document_of(*row.value(), d_.settings.currency);
  } else if (seen.value().placed) {
    document = *seen.value().placed;
  } else if (!row) {
    co_return problem_reply(participant_unavailable("order", row.failure()));
  } else {
    co_return problem_reply(not_found("there is no such order"));
  }
  auto operation = new_operation(call, OperationKind::cancel, call.id, named);
  // The vote judges whether it may be cancelled; this is the answer if it may.
  document.payment.reset();
  document.shipment.reset();
  for (ItemDocument& item : document.items) item.reservation_status.clear();
  document.status = order_status_after(OperationKind::cancel);
  document.updated_at = rfc3339(operation->created_at);
  operation->mode = mode;
  operation->answer = write_answer(document);
  auto submitting = submit(call, std::move(operation), protocol_of(mode));
  co_return co_await std::move(submitting);
}

asio::awaitable<Reply> Api::patch_shipment(Call& call) {
  const std::string status = text_at(call.body->get_object(), "status");
  auto reading = within(io_, read_wait(), d_.shipping.shipment(call.id));
  const auto row = co_await std::move(reading);
  if (row.ok() && row.value()) {
    call.order_id = row.value()->order_id;
  } else if (const auto pending =
                 find_pending([&](const PlaceOrder& p) { return p.shipment_id == call.id; })) {
    call.order_id = pending->operation->order_id;
  } else if (!row) {
    co_return problem_reply(participant_unavailable("shipping", row.failure()));
  } else {
    co_return problem_reply(not_found("there is no such shipment"));
  }
  const auto kind = status == "SHIPPED" ? OperationKind::ship : OperationKind::deliver;
  auto operation = new_operation(call, kind, call.order_id, status);
  JsonWriter answer;
  answer.begin_object()
      .field("shipment_id", call.id)
      .field("order_id", call.order_id)
      .field("status", status)
      .field("updated_at", rfc3339(operation->created_at))
      .end_object();
  operation->answer = answer.take();
  auto submitting = submit(call, std::move(operation), engine::Protocol::two_phase);
  co_return co_await std::move(submitting);
}

asio::awaitable<Reply> Api::submit(Call& call, std::shared_ptr<const Operation> operation,
                                   engine::Protocol protocol) {
  engine::SubmitOptions options;
  options.protocol = protocol;
  options.accept_now = call.prefer.respond_async && operation->kind == OperationKind::place;
  options.wait_applied = call.prefer.applied;
  options.wait_max = std::chrono::milliseconds(d_.settings.http.request_wait_ms_max);
  if (call.prefer.wait && !options.accept_now)
    options.wait_max = std::min<std::chrono::milliseconds>(options.wait_max, *call.prefer.wait);
  auto submitting = d_.engine.submit(operation, options);
  const engine::SubmitResult result = co_await std::move(submitting);
  auto replying = reply_to(call, *operation, result);
  Reply reply = co_await std::move(replying);
  add_preferences(call.prefer, options, result, reply);
  co_return reply;
}

Reply Api::pending_reply(Call& call, const Operation& operation, std::string_view reason,
                         const std::string& transaction_id) const {
  call.transaction_id = transaction_id;
  Reply reply;
  if (operation.kind == OperationKind::place) {
    OrderDocument document = document_of(operation, d_.settings.currency);
    make_pending(document);
    document.reason = reason;
    reply = json_reply(pending_answer(document, transaction_id), 202);
  } else {
    JsonWriter out;
    out.begin_object()
        .field("order_id", operation.order_id)
        .field("operation", to_string(operation.kind))
        .field("status", "PENDING")
        .field_if("reason", reason)
        .field_if("transaction_id", transaction_id)
        .end_object();
    reply = json_reply(out.take(), 202);
  }
  reply.headers.emplace_back("Location", order_location(operation.order_id));
  reply.headers.emplace_back("Retry-After", look_again_s);
  return reply;
}

asio::awaitable<Reply> Api::reply_to(Call& call, const Operation& operation,
                                     const engine::SubmitResult& result) {
  call.transaction_id = result.transaction_id;
  using enum engine::SubmitStatus;
  switch (result.status) {
    case confirmed: {
      const bool place = operation.kind == OperationKind::place;
      Reply reply =
          json_reply(complete_answer(operation.answer, result.transaction_id, result.applied),
                     place ? 201 : 200);
      if (place) reply.headers.emplace_back("Location", order_location(operation.order_id));
      co_return reply;
    }
    case refused:
    case invalid:
      co_return refusal(result.reason.empty() ? "VALIDATION_FAILED" : result.reason, result.detail);
    case replayed: {
      auto replaying = reply_stored(call, *result.stored, result.applied);
      co_return co_await std::move(replaying);
    }
    case key_reused:
      co_return problem_reply({.status = 422,
                               .reason = "KEY_REUSED",
                               .detail = "this Idempotency-Key came with another request before"});
    case in_flight:
      co_return problem_reply({.status = 409,
                               .reason = "REQUEST_IN_FLIGHT",
                               .detail = "a request with this Idempotency-Key is under way",
                               .retry_after = result.retry_after});
    case unavailable:
    case overloaded: {
      const ReasonInfo& info =
          reason_info(result.status == overloaded ? "OVERLOADED" : "PARTICIPANT_UNAVAILABLE");
      co_return problem_reply(
          {.status = result.late ? 504 : 503,
           .reason = info.reason,
           .detail = result.detail.empty() ? std::string(info.title) : result.detail,
           .transaction_id = result.transaction_id,
           .retry_after = result.retry_after});
    }
    case accepted: co_return reply_accepted(call, operation, result);
    case unknown:
      co_return pending_reply(call, operation, "OUTCOME_UNKNOWN", result.transaction_id);
  }
  co_return pending_reply(call, operation, "OUTCOME_UNKNOWN", result.transaction_id);
}

// 202: it stands in the log and will come to an outcome, whoever dies. A replay points at the order
// that the first request made.
Reply Api::reply_accepted(Call& call, const Operation& operation,
                          const engine::SubmitResult& result) const {
  Reply reply;
  const auto first = result.stored ? parse_answer(result.stored->answer) : std::nullopt;
  if (first) {
    call.order_id = first->order_id;
    call.transaction_id = result.stored->gid;
    OrderDocument document = *first;
    make_pending(document);
    reply = json_reply(pending_answer(document, result.stored->gid), 202);
    reply.headers.emplace_back("Location", order_location(first->order_id));
    reply.headers.emplace_back("Retry-After", look_again_s);
    reply.headers.emplace_back("Idempotency-Replayed", "true");
  } else {
    reply = pending_reply(call, operation, "", result.transaction_id);
  }
  return reply;
}

// The stored answer again (I10), refusals included. `applied` alone is as of now.
asio::awaitable<Reply> Api::reply_stored(Call& call, const StoredOutcome& stored, bool applied) {
  call.order_id = stored.order_id;
  call.transaction_id = stored.gid;
  Reply reply;
  if (stored.confirmed) {
    if (!applied && !d_.engine.pending(stored.order_id)) {
      auto looking = within(io_, read_wait(), d_.log.unapplied(stored.order_id));
      const auto gids = co_await std::move(looking);
      applied = gids.ok() && gids.value().empty();
    }
    const bool place = stored.kind == OperationKind::place;
    const bool accepted = place && valid_uuid(stored.gid);
    const auto order = accepted ? parse_answer(stored.answer) : std::nullopt;
    const bool by_saga = order && order->mode != "saga";
    reply =
        json_reply(complete_answer(stored.answer, stored.gid, applied, by_saga), place ? 201 : 200);
    if (place) reply.headers.emplace_back("Location", order_location(stored.order_id));
  } else {
    reply = refusal(stored.reason, stored.detail);
  }
  reply.headers.emplace_back("Idempotency-Replayed", "true");
  co_return reply;
}

}  // namespace txcoord::http
