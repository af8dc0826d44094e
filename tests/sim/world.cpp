// What the five databases do with a request.
#include "tests/sim/world.hpp"

#include <algorithm>
#include <stdexcept>

namespace txcoord::sim {

using protocol::ActionKind;
using protocol::Outcome;

namespace {

std::vector<Want> wants_at(const Group& group, const std::string& participant) {
  std::vector<Want> wants;
  for (const Operation& operation : group) {
    const auto found = operation.wants.find(participant);
    wants.push_back(found == operation.wants.end() ? Want{} : found->second);
  }
  return wants;
}

// Requests that run in the group's own transaction at that database.
bool runs_in_session(ActionKind kind) {
  return kind == ActionKind::claim || kind == ActionKind::vote || kind == ActionKind::judge ||
         kind == ActionKind::prepare || kind == ActionKind::decide ||
         kind == ActionKind::record_refusals || kind == ActionKind::release;
}

}  // namespace

std::string text_of(const Request& request) {
  std::string text =
      std::string(to_string(request.kind)) + ' ' + request.participant + ' ' + format(request.gid);
  for (const bool bit : request.mask) text += bit ? " 1" : " 0";
  return request.written ? text + " (written)" : text;
}

World::World(std::map<std::string, Stock> stocks, bool traced) : traced_(traced) {
  for (auto& [participant, stock] : stocks) databases[participant].stock = std::move(stock);
}

void World::note(std::string_view line) {
  if (traced_) trace.emplace_back(line);
}

void World::note(std::string_view what, const Request& request) {
  if (traced_) trace.push_back(std::string(what) + text_of(request));
}

void World::violation(const std::string& line) {
  note("VIOLATION " + line);
  violations.push_back(line);
}

bool World::has_written_decision(const Gid& gid) const {
  return std::ranges::any_of(late_,
                             [&](const Request& late) { return late.written && late.gid == gid; });
}

bool World::blocked(const Request& request) const {
  switch (request.kind) {
    case ActionKind::vote: {
      const auto& holder = databases.at(request.participant).locked_by;
      return holder && *holder != request.gid;
    }
    case ActionKind::claim:
      return std::ranges::any_of(log.claims, [&](const auto& claim) {
        return claim.first != request.gid &&
               std::ranges::any_of(*request.group, [&](const Operation& operation) {
                 return claim.second.contains(operation.key);
               });
      });
    case ActionKind::settle: return has_written_decision(request.gid);
    default: return false;
  }
}

Done World::execute(const Request& request) {
  note("", request);
  switch (request.kind) {
    case ActionKind::vote:
    case ActionKind::judge: return vote(request);
    case ActionKind::claim: return claim(request);
    case ActionKind::prepare: return prepare(request);
    case ActionKind::decide:
    case ActionKind::record_refusals: return decide(request);
    case ActionKind::settle: return settle(request);
    case ActionKind::commit: return commit(request);
    case ActionKind::rollback: return roll_back(request);
    case ActionKind::check_witness:
      return {.ok = databases.at(request.participant).witnesses.contains(request.gid)};
    case ActionKind::reread_decision: return {.ok = log.decisions.at(request.gid).complete};
    case ActionKind::record_heuristic:
      // I1: a heuristic outcome is for what was lost, never a way out of a wait.
      if (!lost_state) violation("I1 a heuristic outcome without a loss: " + format(request.gid));
      log.decisions.at(request.gid).heuristic = true;
      return {};
    case ActionKind::release: end_session(request); return {};
    case ActionKind::complete: log.decisions.at(request.gid).complete = true; return {};
    default: throw std::logic_error("sim: the databases cannot do " + text_of(request));
  }
}

bool World::session_in_use(const Gid& gid, const std::string& participant) const {
  return std::ranges::any_of(late_, [&](const Request& late) {
    return runs_in_session(late.kind) && late.gid == gid && late.participant == participant;
  });
}

void World::end_session(const Request& request) {
  if (!runs_in_session(request.kind) || session_in_use(request.gid, request.participant)) return;
  if (request.participant == "log") {
    log.claims.erase(request.gid);
    return;
  }
  Database& database = databases.at(request.participant);
  database.open.erase(request.gid);
  if (database.locked_by == request.gid && !database.prepared.contains(request.gid))
    database.locked_by.reset();
}

// --- voting ------------------------------------------------------------------------------------

Done World::vote(const Request& request) {
  Database& database = databases.at(request.participant);
  const std::vector<bool> everything(request.group->size(), true);
  database.locked_by = request.gid;
  database.open[request.gid] = {request.group, {}};
  return {.votes = judge(wants_at(*request.group, request.participant), database.stock,
                         request.kind == ActionKind::judge ? request.mask : everything,
                         "SHORT_AT_" + request.participant)};
}

Done World::claim(const Request& request) {
  protocol::Votes votes(request.group->size());
  for (std::size_t i = 0; i < votes.size(); ++i) {
    if (log.outcomes.contains((*request.group)[i].key))
      votes[i].answer = protocol::Answer::duplicate;
    else
      log.claims[request.gid].insert((*request.group)[i].key);
  }
  return {.votes = std::move(votes)};
}

// --- the protocol's own requests ---------------------------------------------------------------

Done World::prepare(const Request& request) {
  Database& database = databases.at(request.participant);
  const auto branch = database.open.extract(request.gid);
  if (branch.empty()) throw std::logic_error("sim: prepare without a vote");
  database.prepared[request.gid] = {branch.mapped().group, request.mask};
  return {};
}

Done World::decide(const Request& request) {
  const auto epoch = log.epochs.find(request.gid.coordinator);
  log.claims.erase(request.gid);
  // I11: the string that commits raises at the fence, unless it has passed it and holds it.
  if (!request.written && epoch->second != request.gid.epoch) return {.ok = false, .fenced = true};
  const bool commits = request.kind == ActionKind::decide;
  if (commits && log.decisions.contains(request.gid))
    return {.ok = false};  // the tombstone's primary key
  if (commits) {
    for (const std::string& participant : request.record.participants)
      if (!databases.at(participant).prepared.contains(request.gid))
        violation("I1 decided before " + participant + " had prepared " + format(request.gid));
    log.decisions[request.gid] = {.record = request.record};
  }
  for (const std::string& key : request.record.confirmed) {
    if (!log.outcomes.try_emplace(key, Stored{true, {}}).second)
      violation("I5 decided twice: " + key);
  }
  for (const auto& [key, reason] : request.record.refused) {
    if (!log.outcomes.try_emplace(key, Stored{false, reason}).second)
      violation("I5 refused twice: " + key);
  }
  return {};
}

Done World::settle(const Request& request) {
  const auto [row, buried] =
      log.decisions.try_emplace(request.gid, Decision{.outcome = Outcome::abort});
  note(row->second.outcome == Outcome::commit ? "  settled: commit" : "  settled: abort");
  return {.outcome = row->second.outcome};
}

Done World::commit(const Request& request) {
  const auto decision = log.decisions.find(request.gid);
  if (decision == log.decisions.end() || decision->second.outcome != Outcome::commit)
    violation("I4 COMMIT PREPARED without a durable decision: " + text_of(request));
  Database& database = databases.at(request.participant);
  const auto branch = database.prepared.extract(request.gid);
  if (branch.empty()) return {.ok = false};
  const std::vector<Want> wants = wants_at(*branch.mapped().group, request.participant);
  for (std::size_t i = 0; i < wants.size(); ++i) {
    const Operation& operation = (*branch.mapped().group)[i];
    if (!branch.mapped().survivors[i] || !operation.wants.contains(request.participant)) continue;
    take(database.stock, wants[i].takes);
    database.effects[operation.key].push_back(request.gid);
  }
  database.witnesses.insert(request.gid);
  database.locked_by.reset();
  return {};
}

Done World::roll_back(const Request& request) {
  Database& database = databases.at(request.participant);
  if (database.prepared.erase(request.gid) == 0) return {.ok = false};
  const auto decision = log.decisions.find(request.gid);
  if (decision != log.decisions.end() && decision->second.outcome == Outcome::commit)
    violation("I1 rolled back although decided: " + text_of(request));
  database.locked_by.reset();
  return {};
}

// --- epochs, losses, late messages -------------------------------------------------------------

bool World::raise_blocked(const std::string& coordinator) const {
  return std::ranges::any_of(late_, [&](const Request& late) {
    return late.written && late.gid.coordinator == coordinator;
  });
}

std::uint64_t World::raise_epoch(const std::string& coordinator) {
  const std::uint64_t epoch = ++log.epochs[coordinator];
  note("epoch of " + coordinator + " is " + std::to_string(epoch));
  return epoch;
}

void World::lose_prepared(const Gid& gid, const std::string& participant) {
  Database& database = databases.at(participant);
  if (database.prepared.erase(gid) == 0) return;
  database.locked_by.reset();
  lost_state = true;
  note("LOST by failover: " + participant + ' ' + format(gid));
}

std::vector<Gid> World::prepared(const std::string& participant) const {
  std::vector<Gid> gids;
  for (const auto& [gid, branch] : databases.at(participant).prepared) gids.push_back(gid);
  return gids;
}

std::map<Gid, Outcome> World::outcomes_of(const std::vector<Gid>& gids) const {
  std::map<Gid, Outcome> found;
  for (const Gid& gid : gids) {
    const auto decision = log.decisions.find(gid);
    if (decision != log.decisions.end()) found[gid] = decision->second.outcome;
  }
  return found;
}

void World::end_late(std::size_t index, bool happens) {
  const Request request = late_.at(index);
  if (blocked(request)) return;
  late_.erase(late_.begin() + static_cast<std::ptrdiff_t>(index));
  note(happens ? "late: " : "never: ", request);
  if (happens)
    execute(request);
  else
    end_session(request);
}

}  // namespace txcoord::sim
