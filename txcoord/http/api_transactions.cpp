// Global transactions: those at work here, those that the log still holds, and what a person says
// of those that need one.
#include <algorithm>
#include <set>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/http/api.hpp"
#include "txcoord/http/gather.hpp"

namespace txcoord::http {

// A decision of the log, with what else is known of it.
struct Api::KnownDecision {
  Decision decision;
  std::vector<HeuristicOutcome> heuristics;
  std::vector<std::string> waiting_for, unknown_at;
};

namespace {

constexpr std::size_t order_ids_max = 10'000;  // as the schema says
// Of a list, so many decisions are asked for at the participants: four questions each.
constexpr std::size_t asked_for_max = 50;

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

void write(JsonWriter& out, const HeuristicOutcome& outcome) {
  out.begin_object()
      .field("participant", outcome.participant)
      .field("open", !outcome.resolved_at)
      .field("detail", outcome.detail)
      .field("found_at", rfc3339(outcome.found_at));
  if (outcome.resolved_at) {
    out.field("resolved_at", rfc3339(*outcome.resolved_at))
        .field("resolved_by", outcome.by_person ? "person" : "recovery")
        .field_if("note", outcome.note);
  }
  out.end_object();
}

// The states that the log can be asked for; the others live in the engine only.
bool state_in_log(std::string_view state) {
  return state.empty() || state == "committing" || state == "completed" || state == "aborted" ||
         state == "heuristic" || state == "heuristic_open";
}

std::string names_of(const std::vector<HeuristicOutcome>& outcomes) {
  std::string names;
  for (const HeuristicOutcome& outcome : outcomes)
    names += (names.empty() ? "" : ", ") + outcome.participant;
  return names;
}

Problem illegal(std::string detail) {
  return {.status = 409, .reason = "ILLEGAL_STATE", .detail = std::move(detail)};
}

}  // namespace

void Api::write_known(JsonWriter& out, const KnownDecision& known) {
  const Decision& decision = known.decision;
  out.begin_object()
      .field("transaction_id", protocol::format(decision.gid))
      .field("state", state_of(decision))
      .field("operations", decision.order_ids.size());
  write_texts(out, "order_ids", decision.order_ids);
  write_texts(out, "participants", decision.participants);
  write_texts(out, "waiting_for", known.waiting_for);
  if (!known.unknown_at.empty()) write_texts(out, "unknown_at", known.unknown_at);
  if (!known.heuristics.empty()) {
    out.key("heuristics").begin_array();
    for (const HeuristicOutcome& outcome : known.heuristics) write(out, outcome);
    out.end_array();
  }
  out.field("decided_at", rfc3339(decision.decided_at)).end_object();
}

// Whose branch is not committed yet, of decisions that this process does not drive: each
// participant is asked for the witness. One that cannot be asked is waited for too, and named in
// unknown_at.
asio::awaitable<void> Api::ask_witnesses(std::vector<KnownDecision>& list) {
  std::set<std::string> silent;
  for (const auto& [name, health] : d_.engine.health())
    if (!health.reachable) silent.insert(name);
  std::size_t asked = 0;
  for (KnownDecision& known : list) {
    const Decision& decision = known.decision;
    if (decision.outcome == DecisionOutcome::abort || decision.complete) continue;
    const bool too_many = ++asked > asked_for_max;
    for (const std::string& name : decision.participants) {
      const auto participant = d_.faults.find(name);
      if (participant != d_.faults.end() && !too_many && !silent.contains(name)) {
        auto asking = within(io_, read_wait(), participant->second->has_witness(decision.gid));
        const auto witness = co_await std::move(asking);
        if (witness && witness.value()) continue;
        known.waiting_for.push_back(name);
        if (witness) continue;
        silent.insert(name);
      } else {
        known.waiting_for.push_back(name);
      }
      known.unknown_at.push_back(name);
    }
  }
}

asio::awaitable<Result<std::vector<Api::KnownDecision>>> Api::know(
    std::vector<Decision> decisions) {
  std::vector<KnownDecision> list;
  std::vector<protocol::Gid> heuristic;
  for (Decision& decision : decisions) {
    if (decision.heuristic) heuristic.push_back(decision.gid);
    list.push_back({std::move(decision), {}, {}, {}});
  }
  if (!heuristic.empty()) {
    auto reading = within(io_, read_wait(), d_.log.heuristic_outcomes(std::move(heuristic)));
    auto outcomes = co_await std::move(reading);
    if (!outcomes) co_return outcomes.failure();
    for (HeuristicOutcome& outcome : outcomes.value())
      for (KnownDecision& known : list)
        if (known.decision.gid == outcome.gid) known.heuristics.push_back(outcome);
  }
  auto asking = ask_witnesses(list);
  co_await std::move(asking);
  co_return list;
}

asio::awaitable<Reply> Api::list_transactions(Call& call) {
  const std::string state = call.query_value("state");
  const PageOrProblem wanted = read_page(call, /*ids_are_uuids=*/false);
  Result<std::vector<Decision>> decisions = std::vector<Decision>();
  if (state_in_log(state)) {
    auto reading = within(io_, read_wait(), d_.log.list_decisions(state, wanted.page.limit));
    decisions = co_await std::move(reading);
    if (!decisions) co_return problem_reply(participant_unavailable("log", decisions.failure()));
  }
  const auto active = d_.engine.active();
  std::vector<Decision> resting;
  for (const Decision& decision : decisions.value()) {
    const std::string gid = protocol::format(decision.gid);
    const auto same = [&](const engine::ActiveTransaction& transaction) {
      return transaction.gid == gid;
    };
    if (!std::any_of(active.begin(), active.end(), same)) resting.push_back(decision);
  }
  auto knowing = know(std::move(resting));
  const auto known = co_await std::move(knowing);
  if (!known) co_return problem_reply(participant_unavailable("log", known.failure()));
  JsonWriter out;
  out.begin_object().key("transactions").begin_array();
  std::size_t written = 0;
  for (const engine::ActiveTransaction& transaction : active) {
    if (!state.empty() && transaction.state != state) continue;
    if (written++ == wanted.page.limit) break;
    write(out, transaction);
  }
  for (const KnownDecision& one : known.value()) {
    if (written >= wanted.page.limit) break;
    ++written;
    write_known(out, one);
  }
  out.end_array().end_object();
  co_return json_reply(out.take());
}

asio::awaitable<Reply> Api::get_transaction(Call& call) {
  call.transaction_id = call.id;
  for (const engine::ActiveTransaction& transaction : d_.engine.active()) {
    if (transaction.gid != call.id) continue;
    JsonWriter out;
    write(out, transaction);
    co_return json_reply(out.take());
  }
  const auto gid = protocol::parse_gid(call.id);
  if (!gid) co_return problem_reply(not_found("there is no such transaction"));
  auto showing = show_decision(*gid);
  co_return co_await std::move(showing);
}

asio::awaitable<Reply> Api::show_decision(protocol::Gid gid) {
  std::vector<protocol::Gid> gids(1, gid);
  auto reading = within(io_, read_wait(), d_.log.decisions(std::move(gids)));
  const auto decisions = co_await std::move(reading);
  if (!decisions) co_return problem_reply(participant_unavailable("log", decisions.failure()));
  if (decisions.value().empty())
    co_return problem_reply(not_found("there is no such transaction, or its decision was trimmed"));
  auto knowing = know(decisions.value());
  const auto known = co_await std::move(knowing);
  if (!known) co_return problem_reply(participant_unavailable("log", known.failure()));
  JsonWriter out;
  write_known(out, known.value().front());
  co_return json_reply(out.take());
}

// A person says that the lost part of a transaction is repaired. Of a commit decision the witness
// must say the same: without it the orders stay blocked, and recovery would find it lost again.
asio::awaitable<Reply> Api::resolve_transaction(Call& call) {
  call.transaction_id = call.id;
  const auto gid = protocol::parse_gid(call.id);
  if (!gid) co_return problem_reply(not_found("there is no such transaction"));
  std::vector<protocol::Gid> gids(1, *gid);
  auto reading = within(io_, read_wait(), d_.log.decisions(gids));
  auto decisions = co_await std::move(reading);
  if (!decisions) co_return problem_reply(participant_unavailable("log", decisions.failure()));
  if (decisions.value().empty())
    co_return problem_reply(not_found("there is no such transaction, or its decision was trimmed"));
  auto knowing = know(std::move(decisions.value()));
  const auto list = co_await std::move(knowing);
  if (!list) co_return problem_reply(participant_unavailable("log", list.failure()));
  const KnownDecision& known = list.value().front();
  if (known.heuristics.empty()) {
    co_return problem_reply(illegal("nothing of this transaction is heuristic: it is " +
                                    std::string(state_of(known.decision)) +
                                    ", and nothing needs a person"));
  }
  const json::object& body = call.body->get_object();
  const json::value* named = body.if_contains("participant");
  std::vector<std::string> participants;
  for (const HeuristicOutcome& outcome : known.heuristics) {
    if (named != nullptr && named->get_string() != outcome.participant) continue;
    participants.push_back(outcome.participant);
    if (outcome.resolved_at) continue;
    const auto listed = [&](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), outcome.participant) != names.end();
    };
    if (listed(known.unknown_at)) {
      co_return problem_reply(
          {.status = 503,
           .reason = "PARTICIPANT_UNAVAILABLE",
           .detail = "the " + outcome.participant +
                     " service must be asked whether its part is there, and did not answer",
           .retry_after = std::chrono::milliseconds(1000)});
    }
    if (listed(known.waiting_for)) {
      co_return problem_reply(illegal("the part of " + outcome.participant +
                                      " is still missing: there is no row for this transaction in "
                                      "its txc_branch. Repair it first (runbook: a heuristic "
                                      "outcome); the scripts in docs/repair write that row too"));
    }
  }
  if (participants.empty()) {
    co_return problem_reply(illegal("that participant's part was not lost; heuristic here: " +
                                    names_of(known.heuristics)));
  }
  const json::string& note = body.at("note").get_string();
  auto resolving = within(io_, read_wait(),
                          d_.log.resolve_heuristic(*gid, std::move(participants),
                                                   std::string(note.data(), note.size())));
  const auto resolved = co_await std::move(resolving);
  if (!resolved) co_return problem_reply(participant_unavailable("log", resolved.failure()));
  auto showing = show_decision(*gid);
  co_return co_await std::move(showing);
}

}  // namespace txcoord::http
