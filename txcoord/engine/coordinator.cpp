// Groups: forming them, and what happens when the driver tells. Entry and waiting: submit.cpp;
// background loops: upkeep.cpp.
#include "txcoord/engine/coordinator.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>

#include "txcoord/base/ids.hpp"
#include "txcoord/base/logging.hpp"

namespace txcoord::engine {
namespace {

// Where rows are waited for beside another live coordinator, they are taken one voter after the
// other in this order, the log last: no cycle of waits over databases is possible. Where they are
// skipped nobody waits, and all are asked at once.
constexpr std::array<std::string_view, 4> lock_order{"order", "inventory", "payment", "shipping"};
// Inventory's rows are the hottest: its locks go first.
constexpr std::array<std::string_view, 4> commit_order{"inventory", "payment", "order", "shipping"};

constexpr std::chrono::milliseconds retry_vote_pause{25};

std::vector<std::string> names_of(const std::vector<Participant*>& participants) {
  std::vector<std::string> names{std::string(log_name)};
  for (const Participant* participant : participants) names.emplace_back(participant->name());
  return names;
}

// Indexes of `participants` in the order of `names`; those not named come last, as they stand.
template <std::size_t N>
std::vector<protocol::ParticipantId> in_order(const std::vector<Participant*>& participants,
                                              const std::array<std::string_view, N>& names) {
  std::vector<protocol::ParticipantId> ids(participants.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<protocol::ParticipantId>(i);
  std::ranges::stable_sort(ids, {}, [&](protocol::ParticipantId id) {
    return std::ranges::find(names, participants[id]->name()) - names.begin();
  });
  return ids;
}

}  // namespace

Coordinator::Coordinator(asio::any_io_executor io, const Settings& settings,
                         std::vector<Participant*> participants, TransactionLog& log,
                         SagaLog& saga_log, CrashPoints& crash, Metrics& metrics,
                         std::function<void(std::string)> on_fatal)
    : io_(io),
      settings_(settings),
      participants_(std::move(participants)),
      log_(log),
      metrics_(metrics),
      on_fatal_(std::move(on_fatal)),
      incarnation_(random_hex(8)),
      leases_(settings.coordinator_id, std::chrono::milliseconds(settings.engine.lease_ms)),
      health_(names_of(participants_)),
      fences_(io, participants_, log, health_, [this](std::string why) { fenced(std::move(why)); }),
      forgetter_(io, participants_, log, health_, fences_, crash, metrics, settings.engine.trim),
      queue_({settings.engine.group_operations_max, settings.engine.group_rows_max,
              settings.engine.queue_operations_max, settings.engine.conflict_retries_max}),
      driver_(io, participants_, log, health_, crash, metrics,
              std::chrono::milliseconds(settings.engine.vote_ms_max), make_hooks()),
      recovery_(
          io, participants_, log, health_, fences_, forgetter_, crash, metrics,
          std::chrono::milliseconds(settings.engine.recovery_interval_ms),
          [this] { return active_gids(); },
          [this](std::vector<std::string> suspects) { return take_over(std::move(suspects)); }),
      sagas_(io, settings, participants_, saga_log, health_, fences_, crash, metrics,
             make_saga_hooks()),
      lease_ticker_(io),
      modes_ticker_(io),
      queue_ticker_(io),
      trim_ticker_(io),
      gauge_ticker_(io),
      idle_(io) {
  for (const auto& [name, health] : health_.all()) metrics_.database_up(name, health.usable);
  health_.on_errors = [this](std::string_view name, std::size_t operations) {
    metrics_.participant_errors(name, operations);
  };
  health_.on_down = [this](std::string_view name) {
    metrics_.database_up(name, false);
    fences_.forget(name);
    refuse_queued(true, SubmitStatus::unavailable, "a database is away");
    recovery_.kick(name);
    if (name == log_name) lease_ticker_.kick();
  };
  health_.on_doubt = [this](std::string_view name) {
    recovery_.kick(name);
    gauge_ticker_.kick();
    if (name == log_name) lease_ticker_.kick();
  };
  health_.on_up = [this](std::string_view name) {
    metrics_.database_up(name, true);
    recovery_.kick(name);
    sagas_.kick(name);
    pump();
  };
}

DriverHooks Coordinator::make_hooks() {
  DriverHooks hooks;
  hooks.gate_open = [this](const GroupPtr& group) {
    gate_.erase(group);
    queue_ticker_.kick();
  };
  hooks.lane_free = [this](const GroupPtr&) {
    --lanes_used_;
    queue_ticker_.kick();
  };
  hooks.reply = [this](const GroupPtr& group) { reply(group); };
  hooks.applied = [this](const GroupPtr& group) { applied(group); };
  hooks.complete = [this](const GroupPtr& group) {
    const auto ids = group->core.branches();
    std::vector<std::string> branches;
    branches.reserve(ids.size());
    for (const auto id : ids) branches.push_back(group->core.plan().participants[id]);
    forgetter_.applied(group->gid, std::move(branches));
  };
  hooks.sweep = [this](std::string_view participant) { recovery_.kick(participant); };
  hooks.resubmit = [this](GroupRequest request) { queue_.resubmit(std::move(request)); };
  hooks.finished = [this](const GroupPtr& group) { finished(group); };
  hooks.fenced = [this](std::string why) { fenced(std::move(why)); };
  return hooks;
}

SagaHooks Coordinator::make_saga_hooks() {
  SagaHooks hooks;
  hooks.open_gid = [this] {
    const protocol::Gid gid = next_gid();
    step_gids_.insert(gid);
    return gid;
  };
  hooks.close_gid = [this](const protocol::Gid& gid) { step_gids_.erase(gid); };
  hooks.transact = [this](std::shared_ptr<const Operation> operation) {
    SubmitOptions options;
    options.wait_max = std::chrono::milliseconds(settings_.http.request_wait_ms_max);
    return submit(std::move(operation), options);
  };
  hooks.answer = [this](const SubmissionPtr& submission, SubmitResult result) {
    answer(submission, std::move(result));
  };
  hooks.begin_generation = [this] {
    std::string next = random_hex(8);
    if (!fences_.begin_generation(next)) return false;
    incarnation_ = std::move(next);
    return true;
  };
  hooks.take_over = [this](std::vector<std::string> owners) {
    return take_over(std::move(owners));
  };
  hooks.fenced = [this](std::string why) { fenced(std::move(why)); };
  return hooks;
}

protocol::Gid Coordinator::next_gid() {
  return {identity_.installation, identity_.coordinator, identity_.epoch, incarnation_, ++seq_};
}

void Coordinator::reservation_expired(const std::string& order_id) {
  sagas_.abandon(order_id, std::string(expired_reason),
                 "its reservation expired before it was done");
}

std::set<protocol::Gid> Coordinator::active_gids() const {
  std::set<protocol::Gid> gids = step_gids_;
  for (const auto& [gid, group] : groups_) gids.insert(gid);
  return gids;
}

bool Coordinator::may_form() const {
  return started_ && !fenced_ && gate_.size() < settings_.engine.asking_groups_max &&
         lanes_used_ < settings_.engine.lanes &&
         groups_.size() < settings_.engine.unfinished_groups_max && health_.all_usable() &&
         health_.all_have_slots();
}

void Coordinator::pump() {
  while (may_form()) {
    const auto now = std::chrono::steady_clock::now();
    if (const auto since = queue_.quarantine().contended_since())
      contention_.waiting_for(now - *since, now);
    auto request = queue_.form(now, contention_.mode(now));
    for (const auto& submission : queue_.take_turned_away()) answer_held(submission);
    if (!request) break;
    start_group(std::move(*request));
  }
  metrics_.queue(queue_.size());
}

protocol::GroupPlan Coordinator::plan_for(const GroupRequest& request) const {
  protocol::GroupPlan plan;
  plan.operations = request.members.size();
  for (const Participant* participant : participants_) {
    plan.participants.emplace_back(participant->name());
    auto& touches = plan.touches.emplace_back();
    for (const auto& member : request.members)
      touches.push_back(participant->touches(*member->operation));
  }
  plan.vote_stages = vote_stages(request);
  plan.commit_order = in_order(participants_, commit_order);
  plan.conflict_retries_left = request.conflict_retries_left;
  plan.refuse_alone = request.refuse_alone;
  plan.refuse_reason = "VALIDATION_FAILED";
  plan.refuse_detail = "a database cannot hold these values";
  return plan;
}

// Everybody at once where nobody waits for a lock in the database. Else those who lock rows one
// after the other, in one order for all coordinators, and with the last of them everybody else.
std::vector<std::vector<protocol::ParticipantId>> Coordinator::vote_stages(
    const GroupRequest& request) const {
  const bool alone = alone_ && settings_.engine.asking_groups_max == 1;
  const bool at_once = request.lock_mode == LockMode::skip || alone;
  std::vector<std::vector<protocol::ParticipantId>> stages;
  std::vector<protocol::ParticipantId> others{protocol::log_voter};
  for (const auto id : in_order(participants_, lock_order)) {
    const bool locks = std::ranges::any_of(request.members, [&](const SubmissionPtr& member) {
      return locks_rows_at(member->rows, participants_[id]->name());
    });
    if (locks && !at_once) {
      stages.push_back({id});
    } else {
      others.push_back(id);
    }
  }
  if (stages.empty()) stages.emplace_back();
  stages.back().insert(stages.back().end(), others.begin(), others.end());
  return stages;
}

void Coordinator::start_group(GroupRequest request) {
  const protocol::Gid gid = next_gid();
  auto plan = plan_for(request);
  auto group = std::make_shared<Group>(gid, std::move(request), std::move(plan));
  if (const auto& log = leases_.log())
    group->log_at_start = {log->system_identifier, log->timeline, log->lsn};
  metrics_.group(group->operations.size());
  gate_.insert(group);
  ++lanes_used_;
  groups_.emplace(gid, group);
  for (const auto& member : group->request.members)
    orders_[member->operation->order_id] = {member, group};
  driver_.start(group);
}

void Coordinator::refuse_queued(bool all, SubmitStatus status, std::string_view why) {
  const Submissions expired = queue_.expire(std::chrono::steady_clock::now(), all);
  for (const auto& submission : expired) {
    SubmitResult result;
    result.status = status;
    result.reason = status == SubmitStatus::overloaded ? "OVERLOADED" : "PARTICIPANT_UNAVAILABLE";
    result.detail = why;
    if (!all && !submission->held_row.empty()) {
      answer_held(submission);
      continue;
    }
    if (!all && !submission->missing.empty()) {
      answer_missing(submission);
      continue;
    }
    answer(submission, std::move(result));
  }
}

// --- what the driver tells ---------------------------------------------------------------------

void Coordinator::reply(const GroupPtr& group) {
  const auto& verdicts = group->core.verdicts();
  const bool judged = group->core.cause() == protocol::AbortCause::none;
  if (judged) learn_held_rows(*group);
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    const auto& member = group->request.members[i];
    const bool later = judged && verdicts[i].fate == protocol::Fate::retry;
    if (later && !verdicts[i].busy.empty()) {
      set_aside(member, verdicts[i]);
    } else if (later && verdicts[i].reason.empty()) {
      member->missing = verdicts[i].detail;
      if (!queue_again(member)) answer_missing(member);
    } else {
      answer(member, result_of(*group, i));
    }
  }
}

// Which rows the group did not get, and which it got: what waits for the latter comes next.
void Coordinator::learn_held_rows(const Group& group) {
  const auto& verdicts = group.core.verdicts();
  std::size_t asked = group.request.parked, held = group.request.parked;
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    const bool busy = !verdicts[i].busy.empty();
    if (!busy && verdicts[i].fate != protocol::Fate::retry)
      queue_.obtained(*group.request.members[i]);
    if (group.request.members[i]->probe) continue;
    ++asked;
    if (busy) ++held;
  }
  if (group.request.lock_mode == LockMode::skip)
    contention_.judged(asked, held, std::chrono::steady_clock::now());
}

// Its claim is taken back with the group; its key stays in flight.
void Coordinator::set_aside(const SubmissionPtr& submission, const protocol::Verdict& verdict) {
  const auto now = std::chrono::steady_clock::now();
  metrics_.retry("row_held");
  if (now < submission->give_up_at &&
      queue_.set_aside(submission, verdict.busy, verdict.holder, now))
    return;
  answer_held(submission);
}

// Nothing is recorded: it may be sent again.
void Coordinator::answer_held(const SubmissionPtr& submission) {
  SubmitResult result;
  result.status = SubmitStatus::overloaded;
  result.reason = "OVERLOADED";
  result.detail = "a row that it needs is held by another transaction";
  answer(submission, std::move(result));
}

// What is decided is applied within a moment: rows that are missing for so long are gone, by a hand
// or a restored copy. That is no load and no outage, and only a person can judge it. Nothing is
// recorded: once the rows are there again, the same key may be sent.
void Coordinator::answer_missing(const SubmissionPtr& submission) {
  SubmitResult result;
  result.status = SubmitStatus::refused;
  result.reason = "ROWS_MISSING";
  result.detail = submission->missing +
                  ", although the order was confirmed. Nothing was done. Run txcoord audit: rows "
                  "may have been lost";
  logging::error("rows of a confirmed order are missing: it needs a person",
                 {{"order_id", std::string_view(submission->operation->order_id)},
                  {"missing", std::string_view(submission->missing)}});
  answer(submission, std::move(result));
}

// A participant misses rows of a decided order: the operation waits in the queue a little.
// Its order stays busy until this group is over.
bool Coordinator::queue_again(const SubmissionPtr& submission) {
  const auto now = std::chrono::steady_clock::now();
  if (now + retry_vote_pause >= submission->give_up_at) return false;
  submission->not_before = now + retry_vote_pause;
  metrics_.retry("not_applied");
  queue_.push(submission);
  return true;
}

// A database that is late is away; a service that is late is there, and did not answer in time.
bool Coordinator::services_apart() const {
  return std::ranges::any_of(settings_.participants,
                             [](const auto& entry) { return !entry.second.url.empty(); });
}

SubmitResult Coordinator::result_of(const Group& group, std::size_t index) const {
  SubmitResult result;
  const auto& verdict = group.core.verdicts()[index];
  if (group.core.cause() != protocol::AbortCause::none) {
    const bool nobody_takes_it = group.core.cause() == protocol::AbortCause::poison;
    result.status = nobody_takes_it ? SubmitStatus::invalid : SubmitStatus::unavailable;
    result.late = services_apart() && group.core.cause() == protocol::AbortCause::timeout;
    result.reason = nobody_takes_it ? "VALIDATION_FAILED" : "PARTICIPANT_UNAVAILABLE";
    result.detail =
        nobody_takes_it ? "a database cannot hold these values" : "nothing was done; send it again";
    return result;
  }
  result.reason = verdict.reason;
  result.detail = verdict.detail;
  switch (verdict.fate) {
    case protocol::Fate::confirmed:
      result.status = SubmitStatus::confirmed;
      result.transaction_id = group.text;
      break;
    case protocol::Fate::refused:
      result.status =
          group.core.plan().refuse_alone ? SubmitStatus::invalid : SubmitStatus::refused;
      break;
    case protocol::Fate::duplicate: {
      const auto& stored = group.stored.at(index);
      const bool same = stored && stored->fingerprint == group.operations[index]->fingerprint;
      result.status = same ? SubmitStatus::replayed : SubmitStatus::key_reused;
      result.stored = stored;
      break;
    }
    case protocol::Fate::retry:
    case protocol::Fate::open:
      result.status = SubmitStatus::unavailable;
      if (result.reason.empty()) result.reason = "PARTICIPANT_UNAVAILABLE";
      break;
  }
  return result;
}

void Coordinator::applied(const GroupPtr& group) {
  queue_.release_orders(group->request.members);
  for (const auto& member : group->request.members) {
    member->applied = true;
    if (member->result) member->result->applied = true;
    member->changed.cancel();
  }
}

void Coordinator::finished(const GroupPtr& group) {
  groups_.erase(group->gid);
  for (const auto& member : group->request.members) {
    const auto entry = orders_.find(member->operation->order_id);
    if (entry != orders_.end() && entry->second.group == group) orders_.erase(entry);
  }
  if (!group->resubmitted) queue_.release_orders(group->request.members);
  idle_.cancel();
  queue_ticker_.kick();
}

void Coordinator::fenced(std::string why) {
  if (std::exchange(fenced_, true)) return;
  logging::error(
      "fenced: another process runs with this coordinator's id, or took it over",
      {{"coordinator", std::string_view(identity_.coordinator)}, {"why", std::string_view(why)}});
  refuse_queued(true, SubmitStatus::unavailable, "this coordinator was fenced");
  on_fatal_(std::move(why));
}

void Coordinator::spawn(asio::awaitable<void> work) {
  asio::co_spawn(io_, std::move(work), [](const std::exception_ptr& error) {
    if (error) logging::stop_on_defect("defect in a background loop: stopping", error);
  });
}

}  // namespace txcoord::engine
