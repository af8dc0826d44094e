// Sagas and accepted orders, as the log has them: lists, one with its history, and what they add to
// the view of an order.
#include <algorithm>
#include <iterator>
#include <map>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/http/api.hpp"
#include "txcoord/http/gather.hpp"
#include "txcoord/log/saga_payload.hpp"

namespace txcoord::http {
namespace {

std::string time_text(const std::optional<UtcTime>& time) {
  return time ? rfc3339(*time) : std::string();
}

void write_fields(JsonWriter& out, const SagaInstance& saga) {
  out.field("saga_id", saga.saga_id)
      .field("saga_type", saga.type)
      .field("status", saga.status)
      .field("current_step", saga.current_step)
      .field("order_id", saga.order_id)
      .field_if("correlation_id", saga.correlation_id)
      .field("accepted", saga.accepted)
      .field_if("reason", saga.reason)
      .field_if("detail", saga.detail)
      .field("attempts", saga.attempts)
      .field_if("next_retry_at", time_text(saga.next_retry_at))
      .field_if("last_error", saga.last_error)
      .field_if("stuck_since", time_text(saga.stuck_since))
      .field("created_at", rfc3339(saga.created_at))
      .field("updated_at", rfc3339(saga.updated_at))
      .field_if("ended_at", time_text(saga.ended_at));
}

}  // namespace

// Newest first: those that the log has, and those that it has lost, where both are asked for.
asio::awaitable<Reply> Api::list_sagas(Call& call) {
  const PageOrProblem wanted = read_page(call, /*ids_are_uuids=*/true);
  if (wanted.problem) co_return problem_reply(*wanted.problem);
  const std::size_t limit = wanted.page.limit;
  const std::string state = call.query_value("state");
  std::map<std::string, std::string, std::greater<>> page;
  if (state != "lost") {
    auto reading = within(io_, read_wait(), d_.saga_log.list(state, limit, wanted.page.after));
    const auto sagas = co_await std::move(reading);
    if (!sagas) co_return problem_reply(participant_unavailable("log", sagas.failure()));
    for (const SagaInstance& saga : sagas.value()) {
      JsonWriter out;
      out.begin_object();
      write_fields(out, saga);
      out.end_object();
      page.emplace(saga.saga_id, out.take());
    }
  }
  if (state.empty() || state == "lost" || state == "stuck") {
    auto reading = within(io_, read_wait(), d_.lost_log.list(limit, wanted.page.after));
    const auto lost = co_await std::move(reading);
    if (!lost) co_return problem_reply(participant_unavailable("log", lost.failure()));
    for (const LostSaga& saga : lost.value()) page.try_emplace(saga.saga_id, write_lost(saga));
  }
  const bool full = page.size() >= limit;
  if (full) page.erase(std::next(page.begin(), static_cast<std::ptrdiff_t>(limit)), page.end());
  JsonWriter out;
  out.begin_object().key("sagas").begin_array();
  for (const auto& [id, saga] : page) out.raw(saga);
  out.end_array();
  if (full) out.field("next_cursor", make_cursor(page.rbegin()->first));
  out.end_object();
  co_return json_reply(out.take());
}

asio::awaitable<Reply> Api::get_saga(Call& call) {
  call.transaction_id = call.id;
  auto reading = gather(io_, read_wait(), d_.saga_log.find(call.id), d_.saga_log.history(call.id));
  const auto [saga, history] = co_await std::move(reading);
  if (!saga) co_return problem_reply(participant_unavailable("log", saga.failure()));
  if (!history) co_return problem_reply(participant_unavailable("log", history.failure()));
  if (!saga.value()) {
    auto looking = get_lost_saga(call);
    co_return co_await std::move(looking);
  }
  call.order_id = saga.value()->order_id;
  JsonWriter out;
  out.begin_object();
  write_fields(out, *saga.value());
  out.key("history").begin_array();
  for (const SagaHistoryEntry& entry : history.value()) {
    out.begin_object()
        .field("at", rfc3339(entry.at))
        .field("status", entry.status)
        .field("step", entry.step)
        .end_object();
  }
  out.end_array().end_object();
  co_return json_reply(out.take());
}

// An order that was accepted may have no row anywhere yet: then the log's record is all there is.
asio::awaitable<std::optional<Failure>> Api::add_sagas(std::string order_id,
                                                       std::optional<OrderDocument>& order,
                                                       OrderState& state) {
  auto reading = within(io_, read_wait(), d_.saga_log.of_order(order_id));
  const auto sagas = co_await std::move(reading);
  if (!sagas) co_return sagas.failure();
  for (const SagaInstance& saga : sagas.value()) {
    const bool open = !saga.ended_at.has_value();
    if (!order && open) {
      order = document_of(from_payload(saga.payload), d_.settings.currency);
      make_pending(*order);
      state.applied = false;
      state.with_history = true;
    }
    if (open) {
      state.saga_id = saga.saga_id;
      state.attempts = saga.attempts;
      state.next_retry_at = time_text(saga.next_retry_at);
      state.last_error = saga.last_error;
      if (state.transaction_id.empty()) state.transaction_id = saga.saga_id;
    }
    auto looking_back = within(io_, read_wait(), d_.saga_log.history(saga.saga_id));
    const auto history = co_await std::move(looking_back);
    if (!history) co_return history.failure();
    for (const SagaHistoryEntry& entry : history.value())
      state.timeline.push_back(
          {"coordinator", {"Saga " + entry.status, saga.correlation_id, entry.at}});
  }
  std::ranges::stable_sort(state.timeline, {},
                           [](const TimelineEntry& entry) { return entry.event.at; });
  co_return std::nullopt;
}

}  // namespace txcoord::http
