// The sagas' log in memory, for tests of the engine and of the REST layer: keys, owners, progress
// and history behave as the port says. Each call of the engine is in the trace of the script, if
// there is one, and can be told to fail or to wait.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/call_script.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/log/saga_log.hpp"

namespace txcoord::testing {

class FakeSagaLog final : public SagaLog {
 public:
  explicit FakeSagaLog(Script* script = nullptr) : script_(script) {}

  struct Row {
    SagaInstance instance;
    StoredOutcome outcome;
    std::string scope, key;
    std::uint64_t epoch = 0;
    std::uint32_t progress = 0;
    std::vector<SagaHistoryEntry> history;
  };
  std::map<std::string, Row> rows;              // by saga id
  std::map<std::string, std::uint64_t> epochs;  // committed ones; above a row's: it may be adopted
  bool away = false;
  std::size_t largest_record = 0;
  std::string refuses_trouble;  // what is shown of this saga is refused, and all that comes with it
  std::string refuses;  // no statement that would change this saga succeeds: a trigger raises

  asio::awaitable<Result<std::vector<SagaStartReply>>> start(
      SagaOwner owner, std::vector<SagaStart> sagas) override {
    auto entering = enter("sagas.start");
    const auto failure = co_await std::move(entering);
    if (failure && !failure->outcome_unknown) co_return *failure;
    std::vector<SagaStartReply> replies;
    for (const SagaStart& saga : sagas) {
      const auto& operation = *saga.operation;
      const auto found = std::ranges::find_if(rows, [&](const auto& row) {
        return row.second.scope == operation.scope && row.second.key == operation.idempotency_key;
      });
      if (found != rows.end() && found->first != saga.saga_id) {
        replies.push_back({false, found->second.outcome});
        continue;
      }
      if (found == rows.end()) rows[saga.saga_id] = row_of(owner, saga);
      replies.push_back({true, std::nullopt});
    }
    if (failure) co_return *failure;
    co_return replies;
  }

  asio::awaitable<Result<std::vector<std::string>>> record(
      SagaOwner owner, std::vector<SagaUpdate> updates) override {
    auto entering = enter("sagas.record");
    const auto failure = co_await std::move(entering);
    if (failure && !failure->outcome_unknown) co_return *failure;
    largest_record = std::max(largest_record, updates.size());
    std::vector<std::string> not_ours;
    for (const SagaUpdate& update : updates)
      if (update.saga_id == refuses) co_return of_kind(FailureKind::poison);
    for (const SagaUpdate& update : updates) {
      Row& row = rows.at(update.saga_id);
      if (row.instance.coordinator != owner.coordinator || row.epoch != owner.epoch) {
        not_ours.push_back(update.saga_id);
      } else if (row.progress < update.progress) {
        write(row, update);
      }
    }
    if (failure) co_return *failure;
    co_return not_ours;
  }

  asio::awaitable<Result<Done>> note_trouble(SagaOwner,
                                             std::vector<SagaTrouble> troubles) override {
    for (const SagaTrouble& trouble : troubles)
      if (trouble.saga_id == refuses_trouble) co_return of_kind(FailureKind::poison);
    for (const SagaTrouble& trouble : troubles) {
      auto& instance = rows.at(trouble.saga_id).instance;
      instance.attempts = trouble.attempts;
      instance.next_retry_at = trouble.next_retry_at;
      instance.last_error = trouble.last_error;
      if (trouble.stuck && !instance.stuck_since) instance.stuck_since = now_utc();
    }
    co_return Done{};
  }

  asio::awaitable<Result<std::vector<SagaInstance>>> adopt(SagaOwner owner,
                                                           std::size_t limit) override {
    auto entering = enter("sagas.adopt");
    const auto failure = co_await std::move(entering);
    if (failure && !failure->outcome_unknown) co_return *failure;
    const auto orphan = rows.find(refuses);
    if (orphan != rows.end() && orphan->second.epoch < epochs[orphan->second.instance.coordinator])
      co_return of_kind(FailureKind::poison);
    std::vector<SagaInstance> adopted;
    for (auto& [id, row] : rows) {
      const bool fenced = row.epoch < epochs[row.instance.coordinator];
      if (row.instance.ended_at || !fenced || adopted.size() == limit) continue;
      const LogOwner before{row.instance.coordinator, row.epoch};
      row.instance.coordinator = owner.coordinator;
      row.epoch = owner.epoch;
      adopted.push_back(row.instance);
      adopted.back().adopted_from = before;
    }
    if (failure) co_return *failure;
    co_return adopted;
  }

  asio::awaitable<Result<std::vector<SagaInstance>>> adopt_these(
      SagaOwner owner, std::vector<std::string> saga_ids) override {
    auto entering = enter("sagas.adopt_these");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    std::vector<SagaInstance> adopted;
    for (const std::string& id : saga_ids) {
      if (id == refuses) co_return of_kind(FailureKind::poison);
      Row& row = rows.at(id);
      if (row.instance.ended_at || row.epoch >= epochs[row.instance.coordinator]) continue;
      row.instance.coordinator = owner.coordinator;
      row.epoch = owner.epoch;
      adopted.push_back(row.instance);
    }
    co_return adopted;
  }
  asio::awaitable<Result<std::vector<std::string>>> orphans(std::size_t limit) override {
    if (away) co_return unavailable();
    std::vector<std::string> ids;
    for (const auto& [id, row] : rows)
      if (!row.instance.ended_at && row.epoch < epochs[row.instance.coordinator] &&
          ids.size() < limit)
        ids.push_back(id);
    co_return ids;
  }
  asio::awaitable<Result<std::vector<std::string>>> unfinished_of(SagaOwner owner,
                                                                  std::string after,
                                                                  std::size_t limit) override {
    std::vector<std::string> ids;
    for (const auto& [id, row] : rows)
      if (is_of(row, owner) && !row.instance.ended_at && id > after && ids.size() < limit)
        ids.push_back(id);
    // As of the call, however long the answer takes.
    auto entering = enter("sagas.unfinished_of");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    co_return ids;
  }
  asio::awaitable<Result<std::vector<SagaInstance>>> take_up(
      SagaOwner owner, std::vector<std::string> saga_ids) override {
    auto entering = enter("sagas.take_up");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    std::vector<SagaInstance> ours;
    for (const std::string& id : saga_ids)
      if (is_of(rows.at(id), owner) && !rows.at(id).instance.ended_at)
        ours.push_back(rows.at(id).instance);
    co_return ours;
  }

  asio::awaitable<Result<std::vector<std::string>>> owners() override {
    if (away) co_return unavailable();
    std::vector<std::string> names;
    for (const auto& [id, row] : rows)
      if (!row.instance.ended_at) names.push_back(row.instance.coordinator);
    co_return names;
  }
  asio::awaitable<Result<std::optional<SagaInstance>>> find(std::string saga_id) override {
    if (away) co_return unavailable();
    const auto row = rows.find(saga_id);
    if (row == rows.end()) co_return std::optional<SagaInstance>{};
    co_return std::optional<SagaInstance>{row->second.instance};
  }
  asio::awaitable<Result<std::vector<SagaInstance>>> of_order(std::string order_id) override {
    if (away) co_return unavailable();
    std::vector<SagaInstance> found;
    for (const auto& [id, row] : rows)
      if (row.instance.order_id == order_id) found.push_back(row.instance);
    co_return found;
  }
  asio::awaitable<Result<std::vector<SagaInstance>>> list(std::string state, std::size_t limit,
                                                          std::string before) override {
    if (away) co_return unavailable();
    std::vector<SagaInstance> found;
    for (auto row = rows.rbegin(); row != rows.rend() && found.size() < limit; ++row) {
      const SagaInstance& saga = row->second.instance;
      const bool wanted = state.empty() || saga.status == state ||
                          (state == "running" && !saga.ended_at) ||
                          (state == "stuck" && saga.stuck_since);
      if (wanted && (before.empty() || saga.saga_id < before)) found.push_back(saga);
    }
    co_return found;
  }
  asio::awaitable<Result<std::size_t>> count_stuck() override {
    std::size_t stuck = 0;
    for (const auto& [id, row] : rows) stuck += row.instance.stuck_since ? 1 : 0;
    co_return stuck;
  }
  asio::awaitable<Result<std::vector<SagaHistoryEntry>>> history(std::string saga_id) override {
    if (away) co_return unavailable();
    const auto row = rows.find(saga_id);
    if (row == rows.end()) co_return std::vector<SagaHistoryEntry>{};
    co_return row->second.history;
  }
  asio::awaitable<Result<std::vector<std::string>>> orders_of_correlation(
      std::string correlation_id) override {
    if (away) co_return unavailable();
    std::vector<std::string> found;
    for (const auto& [id, row] : rows)
      if (row.instance.correlation_id == correlation_id) found.push_back(row.instance.order_id);
    co_return found;
  }
  asio::awaitable<Result<std::vector<std::string>>> ended_before(SagaOwner owner,
                                                                 std::chrono::seconds age,
                                                                 std::size_t limit) override {
    std::vector<std::string> ended;
    for (const auto& [id, row] : rows) {
      const std::string& name = row.instance.coordinator;
      const bool own = name == owner.coordinator && row.epoch == owner.epoch;
      if (!row.instance.ended_at || trimmed.contains(id) || ended.size() == limit) continue;
      if (now_utc() - *row.instance.ended_at < age) continue;
      if (own || row.epoch < epochs[name]) ended.push_back(id);
    }
    co_return ended;
  }
  asio::awaitable<Result<std::vector<std::string>>> owners_of_ended(std::chrono::seconds) override {
    std::set<std::string> names;
    for (const auto& [id, row] : rows)
      if (row.instance.ended_at && !trimmed.contains(id)) names.insert(row.instance.coordinator);
    co_return std::vector<std::string>(names.begin(), names.end());
  }
  std::set<std::string> trimmed;  // sagas whose barriers are gone
  asio::awaitable<Result<Done>> barriers_trimmed(std::vector<std::string> saga_ids) override {
    trimmed.insert(saga_ids.begin(), saga_ids.end());
    co_return Done{};
  }
  asio::awaitable<Result<Done>> trim(std::chrono::seconds) override { co_return Done{}; }

  static Row row_of(const SagaOwner& owner, const SagaStart& saga) {
    const auto& operation = *saga.operation;
    Row row;
    row.scope = operation.scope;
    row.key = operation.idempotency_key;
    row.epoch = owner.epoch;
    row.outcome.fingerprint = operation.fingerprint;
    row.outcome.kind = operation.kind;
    row.outcome.pending = true;
    row.outcome.accepted = saga.accepted;
    row.outcome.order_id = operation.order_id;
    row.outcome.gid = saga.saga_id;
    row.outcome.answer = operation.answer;
    SagaInstance& instance = row.instance;
    instance.saga_id = saga.saga_id;
    instance.type = saga.type;
    instance.status = "STARTED";
    instance.current_step = saga.current_step;
    instance.order_id = operation.order_id;
    instance.correlation_id = operation.correlation_id;
    instance.coordinator = owner.coordinator;
    instance.payload = saga.payload;
    instance.accepted = saga.accepted;
    instance.created_at = instance.updated_at = now_utc();
    row.history.push_back({"STARTED", saga.current_step, instance.created_at});
    return row;
  }

 private:
  asio::awaitable<std::optional<Failure>> enter(std::string call) {
    if (away) co_return unavailable();
    if (script_ == nullptr) co_return std::nullopt;
    auto entering = script_->enter(std::move(call));
    co_return co_await std::move(entering);
  }

  static bool is_of(const Row& row, const SagaOwner& owner) {
    return row.instance.coordinator == owner.coordinator && row.epoch == owner.epoch;
  }

  static void write(Row& row, const SagaUpdate& update) {
    SagaInstance& instance = row.instance;
    row.progress = update.progress;
    instance.status = update.status;
    instance.current_step = update.current_step;
    instance.reason = update.reason;
    instance.detail = update.detail;
    instance.updated_at = now_utc();
    instance.attempts = 0;
    instance.last_error.clear();
    instance.next_retry_at.reset();
    instance.stuck_since.reset();
    row.history.push_back({update.status, update.current_step, instance.updated_at});
    if (update.ended) {
      instance.ended_at = instance.updated_at;
      instance.payload.clear();
    }
    if (!row.outcome.pending || (!update.ended && !update.confirmed)) return;
    instance.answered = true;
    row.outcome.pending = false;
    row.outcome.confirmed = update.confirmed;
    row.outcome.reason = update.reason;
    row.outcome.detail = update.detail;
  }

  Script* script_;
};

}  // namespace txcoord::testing
