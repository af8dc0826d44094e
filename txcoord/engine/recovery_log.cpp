// What a participant's database remembers of the log: read in each pass, judged, and written again.
// That write is the probe of the database too (health.hpp), because it needs what the work needs.
#include "txcoord/base/logging.hpp"
#include "txcoord/engine/recovery.hpp"
#include "txcoord/engine/recovery_pass.hpp"

namespace txcoord::engine {
namespace {

// Nothing is done otherwise after the one than after the other. But who failed over on purpose, to
// a synchronous standby, need not read of a loss that did not happen.
void say_log_changed(std::string_view participant, protocol::LogChange change,
                     const protocol::LogPoint& seen, const protocol::LogPoint& now) {
  const auto say = change == protocol::LogChange::went_back ? logging::error : logging::warn;
  say(change == protocol::LogChange::went_back
          ? "the log went back: decisions may be missing, siblings' witnesses are asked for"
          : "the log failed over and has all that was seen of it: before anything is rolled back, "
            "siblings' witnesses are asked for",
      {{"participant", participant},
       {"seen_timeline", seen.timeline},
       {"timeline", now.timeline},
       {"seen_lsn", static_cast<std::int64_t>(seen.lsn)},
       {"lsn", static_cast<std::int64_t>(now.lsn)}});
}

}  // namespace

// A later process may have noted that the log changed, and judged what that means: a note of a
// stopped one must not hide it. So the fence is raised first.
asio::awaitable<void> Recovery::note_log(Pass& pass, protocol::LogPoint point) {
  const auto name = pass.participant.name();
  auto raising = fences_.ensure(pass.participant);
  const auto raised = co_await std::move(raising);
  if (!raised) {
    health_.probe_failed(name, raised.failure());
    co_return;
  }
  auto noting =
      pass.participant.note_log_seen(pass.identity.installation, std::move(point), fences_.owner());
  const auto noted = co_await std::move(noting);
  // Somebody holds that row: the database takes writes all the same.
  if (noted || noted.failure().kind == FailureKind::lock_timeout) {
    health_.wrote(name);
    co_return;
  }
  health_.probe_failed(name, noted.failure());
  if (noted.failure().kind != FailureKind::fenced) co_return;
  auto looking = fences_.look(pass.participant);
  co_await std::move(looking);
}

// For a pass that came to nothing because the log is away: what the database remembers of the log
// is written once more, as it stands. A complete pass writes at its end, when all else is done:
// whoever holds that row holds up no recovery and no fence.
asio::awaitable<void> Recovery::probe(Pass& pass) {
  const auto name = pass.participant.name();
  if (!health_.wants_probe(name) || !health_.reachable(name)) co_return;
  auto recall = pass.participant.log_seen(pass.identity.installation);
  const auto seen = co_await std::move(recall);
  if (!seen) {
    health_.probe_failed(name, seen.failure());
    co_return;
  }
  if (seen.value().system_identifier.empty()) co_return;  // it was never told: nothing to repeat
  auto noting = note_log(pass, seen.value());
  co_await std::move(noting);
}

// Before T: what is in the log by then is not older than this point.
asio::awaitable<bool> Recovery::read_log_point(Pass& pass) {
  auto recall = pass.participant.log_seen(pass.identity.installation);
  const auto seen = co_await std::move(recall);
  if (!seen) {
    health_.probe_failed(pass.participant.name(), seen.failure());
    co_return false;
  }
  auto read_now = log_.identity();
  const auto now = co_await std::move(read_now);
  if (!now) {
    health_.failed(log_name, now.failure());
    co_return false;
  }
  pass.log_now = {now.value().system_identifier, now.value().timeline, now.value().lsn};
  const auto change = protocol::log_change(seen.value(), pass.log_now);
  pass.log_may_lack_decisions = protocol::may_lack_decisions(change);
  pass.note_log = pass.log_may_lack_decisions || seen.value().lsn != pass.log_now.lsn ||
                  seen.value().system_identifier.empty();
  if (pass.log_may_lack_decisions) {
    say_log_changed(pass.participant.name(), change, seen.value(), pass.log_now);
    if (on_log_changed) on_log_changed();
  }
  co_return true;
}

}  // namespace txcoord::engine
