// Global transactions, and whether this process is ready.
#include <algorithm>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/http/api.hpp"
#include "txcoord/http/gather.hpp"

namespace txcoord::http {
namespace {

constexpr std::size_t order_ids_max = 10'000;  // as the schema says

void write_texts(JsonWriter& out, std::string_view name, const std::vector<std::string>& texts) {
  out.key(name).begin_array();
  for (std::size_t i = 0; i < std::min(texts.size(), order_ids_max); ++i) out.value(texts[i]);
  out.end_array();
}

void write(JsonWriter& out, const engine::ActiveTransaction& active) {
  out.begin_object()
      .field("transaction_id", active.gid)
      .field("state", active.state)
      .field("operations", active.operations);
  write_texts(out, "order_ids", active.order_ids);
  write_texts(out, "participants", active.participants);
  write_texts(out, "waiting_for", active.waiting_for);
  out.field("started_at", rfc3339(active.started_at)).end_object();
}

std::string_view state_of(const Decision& decision) {
  if (decision.heuristic) return "heuristic";
  if (decision.outcome == DecisionOutcome::abort) return "aborted";
  return decision.complete ? "completed" : "committing";
}

void write(JsonWriter& out, const Decision& decision) {
  const std::string_view state = state_of(decision);
  out.begin_object()
      .field("transaction_id", protocol::format(decision.gid))
      .field("state", state)
      .field("operations", decision.order_ids.size());
  write_texts(out, "order_ids", decision.order_ids);
  write_texts(out, "participants", decision.participants);
  // A decision that this process does not drive: any of its participants may be outstanding.
  write_texts(out, "waiting_for",
              state == "committing" ? decision.participants : std::vector<std::string>());
  out.field("decided_at", rfc3339(decision.decided_at)).end_object();
}

// The states that the log can be asked for; the others live in the engine only.
bool state_in_log(std::string_view state) {
  return state.empty() || state == "committing" || state == "completed" || state == "aborted" ||
         state == "heuristic";
}

}  // namespace

asio::awaitable<Reply> Api::list_transactions(Call& call) {
  const std::string state = call.query_value("state");
  const PageOrProblem wanted = read_page(call, /*ids_are_uuids=*/false);
  Result<std::vector<Decision>> decisions = std::vector<Decision>();
  if (state_in_log(state)) {
    auto reading = within(io_, read_wait(), d_.log.list_decisions(state, wanted.page.limit));
    decisions = co_await std::move(reading);
    if (!decisions) co_return problem_reply(participant_unavailable("log", decisions.failure()));
  }
  JsonWriter out;
  out.begin_object().key("transactions").begin_array();
  std::size_t written = 0;
  const auto active = d_.engine.active();
  for (const engine::ActiveTransaction& transaction : active) {
    if (!state.empty() && transaction.state != state) continue;
    if (written++ == wanted.page.limit) break;
    write(out, transaction);
  }
  for (const Decision& decision : decisions.value()) {
    const std::string gid = protocol::format(decision.gid);
    const auto same = [&](const engine::ActiveTransaction& transaction) {
      return transaction.gid == gid;
    };
    if (std::any_of(active.begin(), active.end(), same)) continue;
    if (written >= wanted.page.limit) break;
    ++written;
    write(out, decision);
  }
  out.end_array().end_object();
  co_return json_reply(out.take());
}

asio::awaitable<Reply> Api::get_transaction(Call& call) {
  call.transaction_id = call.id;
  JsonWriter out;
  for (const engine::ActiveTransaction& transaction : d_.engine.active()) {
    if (transaction.gid != call.id) continue;
    write(out, transaction);
    co_return json_reply(out.take());
  }
  const auto gid = protocol::parse_gid(call.id);
  if (!gid) co_return problem_reply(not_found("there is no such transaction"));
  std::vector<protocol::Gid> gids(1, *gid);
  auto reading = within(io_, read_wait(), d_.log.decisions(std::move(gids)));
  const auto decisions = co_await std::move(reading);
  if (!decisions) co_return problem_reply(participant_unavailable("log", decisions.failure()));
  if (decisions.value().empty()) {
    co_return problem_reply(not_found("there is no such transaction, or its decision was trimmed"));
  }
  write(out, decisions.value().front());
  co_return json_reply(out.take());
}

Reply Api::ready(const Call& call) const {
  const bool is_ready = d_.engine.ready() && !d_.engine.draining();
  JsonWriter out;
  out.begin_object().field("status",
                           is_ready ? "ready" : (d_.engine.draining() ? "draining" : "not_ready"));
  if (call.query_says("verbose")) {
    const engine::DegradedModes modes = d_.engine.degraded();
    out.key("participants").begin_array();
    for (const auto& [name, health] : d_.engine.health()) {
      out.begin_object()
          .field("name", name)
          .field("reachable", health.reachable)
          .field("recovered", health.recovered)
          .field("in_doubt_branches", health.in_doubt_branches)
          .field("in_doubt_oldest_seconds",
                 static_cast<std::int64_t>(health.in_doubt_oldest_seconds))
          .field_if("last_error", health.last_error);
      const auto fault = d_.faults.find(name);
      if (fault != d_.faults.end() && fault->second->faults()) {
        out.key("fault");
        write_fault(out, *fault->second->faults());
      }
      const auto breaker = d_.breakers.find(name);
      if (breaker != d_.breakers.end()) out.field("breaker", breaker->second());
      if (modes.spares(name)) out.field("mode", engine::degraded_mode_of(name));
      out.end_object();
    }
    out.end_array();
  }
  out.end_object();
  return readiness_reply(out.take(), is_ready);
}

}  // namespace txcoord::http
