#include "txcoord/engine/quarantine.hpp"

#include <algorithm>

namespace txcoord::engine {
namespace {

// A row that was not asked for this long is no longer known to be held.
constexpr std::chrono::seconds quiet_after{1};

}  // namespace

bool Quarantine::stuck(const Row& row) const {
  const auto bound = row.holder.empty() ? limits_.stuck_after_unnamed : limits_.stuck_after;
  return quarantined(row) && row.struck_at - row.held_since >= bound;
}

bool Quarantine::stuck(const std::string& row) const {
  const auto entry = rows_.find(row);
  return entry != rows_.end() && stuck(entry->second);
}

bool Quarantine::struck(const std::string& row, const std::string& holder, SteadyTime now,
                        bool probe) {
  Row& entry = rows_[row];
  if (now - entry.struck_at > quiet_after && entry.waiting.empty()) entry.strikes = 0;
  if (entry.strikes == 0 || entry.holder != holder) {
    entry.holder = holder;
    entry.held_since = now;
  }
  entry.strikes = probe ? std::max(entry.strikes + 1, limits_.strikes) : entry.strikes + 1;
  entry.struck_at = now;
  if (!quarantined(entry)) return false;
  entry.rests_until = now + limits_.rest;
  return true;
}

std::optional<std::string> Quarantine::blocked_by(const Submission& submission,
                                                  LockMode mode) const {
  if (rows_.empty()) return std::nullopt;
  for (const std::string& key : submission.rows.keys) {
    const auto row = rows_.find(key);
    if (row == rows_.end() || !quarantined(row->second)) continue;
    if (mode == LockMode::skip || stuck(row->second)) return key;
  }
  return std::nullopt;
}

bool Quarantine::park(const std::string& row, SubmissionPtr submission) {
  Row& entry = rows_[row];
  if (entry.waiting.size() >= limits_.waiting_max) return false;
  // A probe that failed comes back to where it was.
  const auto place = std::ranges::upper_bound(entry.waiting, submission->submitted_at, {},
                                              &Submission::submitted_at);
  entry.waiting.insert(place, std::move(submission));
  ++waiting_;
  return true;
}

Submissions Quarantine::probes(SteadyTime now) {
  std::vector<Row*> rested;
  for (auto& [key, row] : rows_)
    if (!row.waiting.empty() && row.rests_until <= now) rested.push_back(&row);
  const auto oldest = [](const Row* row) { return row->waiting.front()->submitted_at; };
  const std::size_t count = std::min(rested.size(), limits_.probes_max);
  std::ranges::partial_sort(rested, rested.begin() + static_cast<std::ptrdiff_t>(count), {},
                            oldest);
  Submissions probing;
  for (std::size_t i = 0; i < count; ++i) {
    probing.push_back(std::move(rested[i]->waiting.front()));
    rested[i]->waiting.pop_front();
    rested[i]->rests_until = now + limits_.rest;
    --waiting_;
  }
  return probing;
}

Submissions Quarantine::free_contended() {
  Submissions freed;
  for (auto& [key, row] : rows_) {
    if (stuck(row)) continue;
    std::ranges::move(row.waiting, std::back_inserter(freed));
    row.waiting.clear();
  }
  waiting_ -= freed.size();
  std::ranges::sort(freed, {}, &Submission::submitted_at);
  return freed;
}

std::optional<SteadyTime> Quarantine::contended_since() const {
  std::optional<SteadyTime> since;
  for (const auto& [key, row] : rows_) {
    if (row.waiting.empty() || stuck(row)) continue;
    const SteadyTime came = row.waiting.front()->submitted_at;
    since = since ? std::min(*since, came) : came;
  }
  return since;
}

Submissions Quarantine::obtained(const Submission& submission) {
  Submissions freed;
  if (rows_.empty()) return freed;
  const auto free_row = [&](const std::string& key) {
    const auto row = rows_.find(key);
    if (row == rows_.end()) return;
    waiting_ -= row->second.waiting.size();
    std::ranges::move(row->second.waiting, std::back_inserter(freed));
    rows_.erase(row);
  };
  for (const std::string& key : submission.rows.keys) free_row(key);
  free_row(submission.held_row);
  return freed;
}

Submissions Quarantine::expire(SteadyTime now, bool all) {
  Submissions expired;
  for (auto& [key, row] : rows_) {
    std::erase_if(row.waiting, [&](SubmissionPtr& waiting) {
      if (!all && waiting->give_up_at > now) return false;
      expired.push_back(std::move(waiting));
      --waiting_;
      return true;
    });
  }
  std::erase_if(rows_, [now](const auto& entry) {
    return entry.second.waiting.empty() && now - entry.second.struck_at > quiet_after;
  });
  return expired;
}

std::optional<SteadyTime> Quarantine::next_due() const {
  std::optional<SteadyTime> due;
  for (const auto& [key, row] : rows_)
    if (!row.waiting.empty()) due = due ? std::min(*due, row.rests_until) : row.rests_until;
  return due;
}

std::map<std::string, std::size_t, std::less<>> Quarantine::rows_by_participant() const {
  std::map<std::string, std::size_t, std::less<>> counts;
  for (const auto& [key, row] : rows_)
    if (quarantined(row)) ++counts[std::string(participant_of(key))];
  return counts;
}

}  // namespace txcoord::engine
