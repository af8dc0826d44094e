// Orders that change something: place, cancel, ship, deliver. Each becomes an operation for the
// engine.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <set>

#include "txcoord/base/ids.hpp"
#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/http/api.hpp"
#include "txcoord/http/gather.hpp"

namespace txcoord::http {
namespace {

constexpr std::size_t failed_orders_max = 10'000;

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
      .field("mode", mode)
      .end_object();
  return out.take();
}

// A business refusal: the same under its key for ever (I10), so it holds nothing that changes.
Reply refusal(std::string_view reason, const std::string& detail) {
  const ReasonInfo& info = reason_info(reason);
  return problem_reply({.status = info.status,
                        .reason = info.reason,
                        .detail = detail.empty() ? std::string(info.title) : detail});
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
  const std::string mode = text_if(body, "mode").value_or(d_.settings.default_mode);
  if (mode != "2pc") {
    co_return problem_reply(
        {.status = 501, .reason = "MODE_NOT_AVAILABLE", .detail = "mode saga is not built yet"});
  }
  auto operation =
      new_operation(call, OperationKind::place, uuid_v7(), canonical_place(place, mode));
  for (OrderItem& item : place.items) item.reservation_id = uuid_v7();
  place.payment_id = uuid_v7();
  place.shipment_id = uuid_v7();
  operation->place = std::move(place);
  operation->answer = write_answer(document_of(*operation, d_.settings.currency));
  call.order_id = operation->order_id;
  auto submitting = submit(call, std::move(operation));
  co_return co_await std::move(submitting);
}

asio::awaitable<Reply> Api::cancel_order(Call& call) {
  call.order_id = call.id;
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
  auto operation = new_operation(call, OperationKind::cancel, call.id, "{}");
  // The vote judges whether it may be cancelled; this is the answer if it may.
  document.payment.reset();
  document.shipment.reset();
  for (ItemDocument& item : document.items) item.reservation_status.clear();
  document.status = order_status_after(OperationKind::cancel);
  document.updated_at = rfc3339(operation->created_at);
  operation->answer = write_answer(document);
  auto submitting = submit(call, std::move(operation));
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
  auto submitting = submit(call, std::move(operation));
  co_return co_await std::move(submitting);
}

asio::awaitable<Reply> Api::submit(Call& call, std::shared_ptr<const Operation> operation) {
  engine::SubmitOptions options;
  options.wait_applied = call.prefer.applied;
  options.wait_max = std::chrono::milliseconds(d_.settings.http.request_wait_ms_max);
  if (call.prefer.wait)
    options.wait_max = std::min<std::chrono::milliseconds>(options.wait_max, *call.prefer.wait);
  if (call.prefer.respond_async && operation->kind == OperationKind::place) {
    auto behind = submit_async(call, std::move(operation), options);
    co_return co_await std::move(behind);
  }
  auto submitting = d_.engine.submit(operation, options);
  const engine::SubmitResult result = co_await std::move(submitting);
  auto replying = reply_to(call, *operation, result);
  co_return co_await std::move(replying);
}

// A key that was used is answered from the log now: a 202 would point at an order that never comes.
asio::awaitable<Reply> Api::submit_async(Call& call, std::shared_ptr<const Operation> operation,
                                         engine::SubmitOptions options) {
  auto finding =
      within(io_, read_wait(), d_.log.find_outcome(operation->scope, operation->idempotency_key));
  auto found = co_await std::move(finding);
  if (!found) co_return problem_reply(participant_unavailable("log", found.failure()));
  engine::SubmitResult result;
  if (found.value()) {
    result.status = found.value()->fingerprint == operation->fingerprint
                        ? engine::SubmitStatus::replayed
                        : engine::SubmitStatus::key_reused;
    result.stored = std::move(found.value());
    auto replying = reply_to(call, *operation, result);
    co_return co_await std::move(replying);
  }
  auto left = std::make_shared<LeftBehind>();
  asio::co_spawn(io_, submit_behind(operation, options, left), asio::detached);
  // One turn of the loop: what the engine refuses at its door is told now.
  co_await asio::post(io_, asio::use_awaitable);
  if (left->result) {
    auto replying = reply_to(call, *operation, *left->result);
    co_return co_await std::move(replying);
  }
  left->answered = true;
  Reply reply = accepted(call, *operation, "", "");
  reply.headers.emplace_back("Preference-Applied", "respond-async");
  co_return reply;
}

asio::awaitable<void> Api::submit_behind(std::shared_ptr<const Operation> operation,
                                         engine::SubmitOptions options,
                                         std::shared_ptr<LeftBehind> left) {
  auto submitting = d_.engine.submit(operation, options);
  left->result = co_await std::move(submitting);
  using enum engine::SubmitStatus;
  const auto status = left->result->status;
  const bool failed = status != confirmed && status != unknown && status != replayed;
  if (left->answered && failed) remember_failed(std::move(operation), left->result->reason);
}

void Api::remember_failed(std::shared_ptr<const Operation> operation, std::string reason) {
  const std::string order_id = operation->order_id;
  if (failed_.emplace(order_id, FailedOrder{std::move(operation), std::move(reason)}).second) {
    failed_order_.push_back(order_id);
  }
  if (failed_order_.size() > failed_orders_max) {
    failed_.erase(failed_order_.front());
    failed_order_.pop_front();
  }
}

Reply Api::accepted(Call& call, const Operation& operation, std::string_view reason,
                    const std::string& transaction_id) const {
  call.transaction_id = transaction_id;
  Reply reply;
  if (operation.kind == OperationKind::place) {
    OrderDocument document = document_of(operation, d_.settings.currency);
    document.status = "PENDING";
    document.reason = reason;
    document.payment.reset();
    document.shipment.reset();
    for (ItemDocument& item : document.items) item.reservation_status.clear();
    reply =
        json_reply(complete_answer(write_answer(document), transaction_id, /*applied=*/false), 202);
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
      if (call.prefer.applied && result.applied)
        reply.headers.emplace_back("Preference-Applied", "applied");
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
          {.status = 503,
           .reason = info.reason,
           .detail = result.detail.empty() ? std::string(info.title) : result.detail,
           .transaction_id = result.transaction_id,
           .retry_after = result.retry_after});
    }
    case unknown: co_return accepted(call, operation, "OUTCOME_UNKNOWN", result.transaction_id);
  }
  co_return accepted(call, operation, "OUTCOME_UNKNOWN", result.transaction_id);
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
    reply = json_reply(complete_answer(stored.answer, stored.gid, applied), place ? 201 : 200);
    if (place) reply.headers.emplace_back("Location", order_location(stored.order_id));
  } else {
    reply = refusal(stored.reason, stored.detail);
  }
  reply.headers.emplace_back("Idempotency-Replayed", "true");
  co_return reply;
}

}  // namespace txcoord::http
