// Sagas that the log has lost, as people see them, and what they ask for about them.
#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/http/api.hpp"
#include "txcoord/http/gather.hpp"

namespace txcoord::http {
namespace {

constexpr std::string_view no_order = "00000000-0000-0000-0000-000000000000";

Reply accepted(const LostSaga& saga, std::string_view action, bool replayed) {
  LostSaga shown = saga;
  shown.resolution = action;
  Reply reply = json_reply(write_lost(shown), 202);
  reply.headers.emplace_back("Location", "/v1/sagas/" + saga.saga_id);
  reply.headers.emplace_back("Retry-After", "1");
  if (replayed) reply.headers.emplace_back("Idempotency-Replayed", "true");
  return reply;
}

}  // namespace

// The members of any saga; what stood in the log alone is empty.
std::string write_lost(const LostSaga& saga) {
  JsonWriter out;
  out.begin_object()
      .field("saga_id", saga.saga_id)
      .field("saga_type", saga.type)
      .field("status", "LOST")
      .field("current_step", "")
      .field("order_id", saga.order_id.empty() ? no_order : std::string_view(saga.order_id))
      .field("accepted", false)
      .field("attempts", 0)
      .field("last_error", "the log has lost this saga: it needs a person")
      .field("stuck_since", rfc3339(saga.found_at))
      .field("created_at", rfc3339(saga.found_at))
      .field("updated_at", rfc3339(saga.looked_at))
      .field("at_risk", engine::at_risk(saga));
  out.key("resolutions").begin_array();
  if (saga.resolution.empty() && saga.may_compensate)
    out.value(engine::to_string(engine::LostAction::compensate));
  if (saga.resolution.empty() && saga.may_complete)
    out.value(engine::to_string(engine::LostAction::complete));
  out.end_array().field_if("resolution", saga.resolution).end_object();
  return out.take();
}

asio::awaitable<Reply> Api::get_lost_saga(const Call& call) {
  auto reading = within(io_, read_wait(), d_.lost_log.find(call.id));
  const auto saga = co_await std::move(reading);
  if (!saga) co_return problem_reply(participant_unavailable("log", saga.failure()));
  if (!saga.value())
    co_return problem_reply(not_found("there is no such saga, or its record was trimmed"));
  co_return json_reply(write_lost(*saga.value()));
}

// What GET says of an order whose saga is lost.
asio::awaitable<std::optional<Failure>> Api::add_lost(std::string order_id, OrderState& state) {
  auto reading = within(io_, read_wait(), d_.lost_log.of_order(std::move(order_id)));
  const auto lost = co_await std::move(reading);
  if (!lost) co_return lost.failure();
  if (lost.value().empty()) co_return std::nullopt;
  const LostSaga& saga = lost.value().front();
  state.saga_id = saga.saga_id;
  state.last_error = "the log has lost its saga: it needs a person";
  state.at_risk = engine::at_risk(saga);
  co_return std::nullopt;
}

Reply Api::search_lost_sagas() {
  d_.lost_sagas.search();
  JsonWriter out;
  out.begin_object().field("lost", d_.lost_sagas.known()).end_object();
  return json_reply(out.take(), 202);
}

asio::awaitable<Reply> Api::resolve_saga(Call& call) {
  const json::string& wanted = call.body->get_object().at("action").get_string();
  const auto action = std::string_view(wanted.data(), wanted.size()) == "complete"
                          ? engine::LostAction::complete
                          : engine::LostAction::compensate;
  call.transaction_id = call.id;
  auto resolving = d_.lost_sagas.resolve(call.id, action, call.key);
  const auto resolution = co_await std::move(resolving);
  if (resolution.saga) call.order_id = resolution.saga->order_id;
  switch (resolution.outcome) {
    case engine::LostResolve::begun:
      co_return accepted(*resolution.saga, engine::to_string(action), false);
    case engine::LostResolve::replayed:
      co_return accepted(*resolution.saga, engine::to_string(action), true);
    case engine::LostResolve::not_found: co_return problem_reply(not_found(resolution.detail));
    case engine::LostResolve::key_reused:
      co_return problem_reply({.status = 422, .reason = "KEY_REUSED", .detail = resolution.detail});
    case engine::LostResolve::impossible:
      co_return problem_reply(
          {.status = 409, .reason = "ILLEGAL_STATE", .detail = resolution.detail});
    case engine::LostResolve::failed: break;
  }
  const std::string& message = resolution.failure->message;
  co_return problem_reply(
      participant_unavailable(message.substr(0, message.find(':')), *resolution.failure));
}

}  // namespace txcoord::http
