// What the log says is ours, and nobody here runs: found in every round, and taken up. It comes to
// be so when an answer is lost (of a start, of an adoption) and the next try does not bring it.
//
// A saga is at work here while it stands in running_. Why one that is at work is never taken up a
// second time, and one that is not is found:
//  1. A row of (this coordinator, its epoch) is made by a start of ours, or given to us by an
//     adoption of ours: the fence refuses anybody else (pg_saga_log_sql.cpp).
//  2. A saga stands in running_ from before its start is sent until its end is acknowledged:
//     begin() puts it there, forget() takes it away. Adopted ones stand there from the handler that
//     reads the adoption's answer; adopting and looking take turns in one loop, so no adoption is
//     under way while we look, but one whose answer was lost.
//  3. The look reads the log after it has begun to note who leaves running_. So for a row that is
//     unfinished in what was read there are three cases: its saga stands in running_ now; or it
//     left since the look began, and perhaps ended after the log was read; or it stood there at no
//     time during the look. The first two are at work, or were: left alone, and looked at again in
//     the next round. The third is the one we want: from 1 and 2, nobody writes it.
//  4. What lands late belongs to an earlier try that nobody waits for. A start that lands after the
//     look is found by the next. An adoption too. A state that lands late moves a saga forward only
//     (its progress), and whoever goes on from the state before does again what it had done, under
//     the same barriers.
//  5. The rows are read again, as ours and unfinished, under the fence, before anything is done.
//     What left running_ until then is left alone. No id can enter running_ meanwhile: ids are
//     fresh, but for the adopted ones (2).
// Young rows are left to the next round: nearly all of them are at work. Nothing above needs that.
//
// Beyond running_max nothing is taken up; what is left is found again, oldest first.
#include <algorithm>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/backoff.hpp"
#include "txcoord/engine/blame.hpp"
#include "txcoord/engine/sagas.hpp"

namespace txcoord::engine {
namespace {

constexpr std::size_t taken_up_at_once_max = 500;
constexpr std::size_t looked_at_in_page_max = 5000;
constexpr std::size_t pages_in_round_max = 8;
constexpr std::chrono::milliseconds set_aside_for{15000};  // and as much jitter
constexpr std::size_t set_aside_max = 10000;

}  // namespace

std::size_t Sagas::room() const {
  return settings_.saga.running_max -
         std::min<std::size_t>(settings_.saga.running_max, running_.size());
}

// True if there may be more at once.
asio::awaitable<bool> Sagas::reconcile() {
  if (!health_.usable(log_name) || draining_ || room() == 0) co_return false;
  looking_ = true;
  left_while_looking_.clear();
  auto look = not_at_work();
  const auto found = co_await std::move(look);
  bool more = false;
  if (found && !found.value().empty()) {
    // Whose they were is not known any more when an adoption's answer was lost: all that were taken
    // over are fenced first (rule 2 of fences.hpp).
    auto requiring = fences_.require_committed();
    if (const bool required = co_await std::move(requiring); !required) {
      looking_ = false;
      left_while_looking_.clear();
      co_return false;
    }
  }
  if (found && !found.value().empty()) {
    auto taking = log_.take_up(owner_, found.value());
    auto instances = co_await std::move(taking);
    if (!instances) {
      health_.failed(log_name, instances.failure());
      if (instances.failure().kind == FailureKind::fenced)
        hooks_.fenced("taking up sagas was refused");
    } else if (!draining_) {
      logging::warn("sagas of this coordinator were not at work: taken up",
                    {{"sagas", static_cast<std::int64_t>(instances.value().size())}});
      for (auto& instance : instances.value())
        if (!left_while_looking_.contains(instance.saga_id)) resume(std::move(instance));
      more = found.value().size() == taken_up_at_once_max;
    }
  }
  looking_ = false;
  left_while_looking_.clear();
  co_return more;
}

// The ids of those, oldest first, as many as there is room for. Reads in pages; where a round does
// not come to the end, the next one goes on from there.
asio::awaitable<Result<std::vector<std::string>>> Sagas::not_at_work() {
  const auto now = std::chrono::steady_clock::now();
  // Those not found again for so long are somebody else's, or ended.
  std::erase_if(set_aside_,
                [now](const auto& entry) { return entry.second + 2 * set_aside_for < now; });
  const std::size_t wanted = std::min(room(), taken_up_at_once_max);
  std::vector<std::string> lost;
  for (std::size_t page = 0; page < pages_in_round_max; ++page) {
    auto reading = log_.unfinished_of(owner_, looked_up_to_, looked_at_in_page_max);
    const auto ids = co_await std::move(reading);
    if (!ids) {
      health_.failed(log_name, ids.failure());
      co_return ids.failure();
    }
    for (const std::string& id : ids.value()) {
      const auto aside = set_aside_.find(id);
      const bool later = aside != set_aside_.end() && aside->second > now;
      if (later || running_.contains(id) || left_while_looking_.contains(id)) continue;
      lost.push_back(id);
      if (lost.size() < wanted) continue;
      looked_up_to_.clear();
      co_return lost;
    }
    looked_up_to_ = ids.value().size() < looked_at_in_page_max ? "" : ids.value().back();
    if (looked_up_to_.empty()) break;
  }
  co_return lost;
}

// One row that cannot be adopted (a trigger raises, a value is refused) must not keep the others
// from it. True if there may be more at once.
asio::awaitable<bool> Sagas::adopt_one_by_one() {
  auto asking = log_.orphans(taken_up_at_once_max + set_aside_.size());
  const auto orphans = co_await std::move(asking);
  if (!orphans) {
    health_.failed(log_name, orphans.failure());
    co_return false;
  }
  const auto now = std::chrono::steady_clock::now();
  bool some = false;
  for (const std::string& id : orphans.value()) {
    const auto aside = set_aside_.find(id);
    if (aside != set_aside_.end() && aside->second > now) continue;
    if (draining_ || room() == 0) co_return false;
    std::vector<std::string> one{id};
    auto adopting = log_.adopt_these(owner_, std::move(one));
    auto adopted = co_await std::move(adopting);
    if (adopted) {
      for (const auto& instance : adopted.value())
        fences_.require(instance.adopted_from.coordinator, instance.adopted_from.epoch + 1);
      for (auto& instance : adopted.value()) resume(std::move(instance));
      some = some || !adopted.value().empty();
      continue;
    }
    health_.failed(log_name, adopted.failure());
    if (!may_lie_with_one(adopted.failure())) co_return false;
    set_aside(id, "it cannot be adopted");
  }
  co_return some;
}

// Never lost: it stays in the log, and is counted as stuck. Tried again, much later.
void Sagas::set_aside(const std::string& saga_id, std::string_view why) {
  logging::error("a saga is stuck: it needs a person",
                 {{"saga_id", std::string_view(saga_id)}, {"why", why}});
  if (set_aside_.size() < set_aside_max || set_aside_.contains(saga_id))
    set_aside_[saga_id] = std::chrono::steady_clock::now() + jittered(set_aside_for, jitter_);
  count_stuck();
}

}  // namespace txcoord::engine
