// The branch protocol's calls; those of the services are in participant_host_services.cpp.
#include "participants/remote/participant_host.hpp"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <vector>

#include "participants/remote/branch_json.hpp"
#include "txcoord/base/logging.hpp"

namespace txcoord::remote {
namespace {

constexpr std::string_view what = "a participant's call";
constexpr std::chrono::milliseconds sweep_every{500};
// Of one call: a group at its largest, and room.
constexpr std::size_t operations_max = 10'000;
constexpr std::size_t listed_max = 1000;  // sagas that one call of list-steps tells of

template <class Write>
std::string object(Write write) {
  JsonWriter out;
  out.begin_object();
  write(out);
  return out.end_object().take();
}

HostAnswer refused(int status, std::string detail) {
  return {status, failure_body({FailureKind::error, false, "", std::move(detail)})};
}

OperationMask read_mask(const JsonReader& reader, std::string_view member) {
  return reader.flags(member);
}

}  // namespace

ParticipantHost::ParticipantHost(asio::any_io_executor io,
                                 std::map<std::string, Hosted, std::less<>> hosted,
                                 std::chrono::milliseconds branch_open_max)
    : io_(std::move(io)),
      hosted_(std::move(hosted)),
      branch_open_max_(branch_open_max),
      clock_(io_) {}

asio::awaitable<HostAnswer> ParticipantHost::handle(std::string_view participant,
                                                    std::string_view call, std::string_view body) {
  // What is caught is answered after the handler: nothing is awaited in it.
  HostAnswer reply;
  try {
    auto answering = answer(participant, call, body);
    reply = co_await std::move(answering);
  } catch (const JsonReadError& unreadable) {
    reply = refused(400, unreadable.what());
  } catch (const CallFailed& failed) {
    reply = {failure_status(failed.failure.kind), failure_body(failed.failure)};
  } catch (const std::exception& defect) {
    logging::error(
        "a participant's call failed",
        {{"participant", participant}, {"call", call}, {"error", std::string_view(defect.what())}});
    reply = {500, failure_body({FailureKind::error, true, "", "a defect here"})};
  }
  co_return reply;
}

asio::awaitable<HostAnswer> ParticipantHost::answer(std::string_view participant,
                                                    std::string_view call, std::string_view body) {
  const auto found = hosted_.find(participant);
  if (found == hosted_.end()) co_return refused(404, "no such participant here");
  const auto parsed = parse_our_json(what, body);
  const JsonReader reader(what, parsed);
  bool known = true;
  auto branch = branch_call(found->second, call, reader, known);
  std::string text = co_await std::move(branch);
  if (!known) {
    known = true;
    auto service = service_call(found->second, call, reader, known);
    text = co_await std::move(service);
  }
  if (!known) co_return refused(404, "no such call");
  co_return HostAnswer{200, std::move(text)};
}

asio::awaitable<std::string> ParticipantHost::branch_call(const Hosted& hosted,
                                                          std::string_view call,
                                                          const JsonReader& reader, bool& known) {
  Participant& participant = *hosted.participant;
  if (call == "vote") {
    auto calling = vote(hosted, reader);
    co_return co_await std::move(calling);
  }
  if (call == "judge") {
    auto calling = judge(hosted, reader);
    co_return co_await std::move(calling);
  }
  if (call == "prepare") {
    auto calling = prepare(hosted, reader);
    co_return co_await std::move(calling);
  }
  if (call == "release") {
    auto calling = release(hosted, reader);
    co_return co_await std::move(calling);
  }
  if (call == "commit") {
    auto calling = participant.commit_prepared(read_gid(reader));
    value_or_throw(co_await std::move(calling));
    co_return "{}";
  }
  if (call == "rollback") {
    auto calling = participant.rollback_prepared(read_gid(reader));
    value_or_throw(co_await std::move(calling));
    co_return "{}";
  }
  if (call == "witness") {
    auto calling = participant.has_witness(read_gid(reader));
    const bool present = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { out.field("present", present); });
  }
  if (call == "list-prepared") {
    auto calling = participant.list_prepared(reader.text("installation"));
    const auto gids = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { write_gids(out, gids); });
  }
  if (call == "trim-witnesses") {
    auto calling = participant.trim_witnesses(read_gids(reader));
    value_or_throw(co_await std::move(calling));
    co_return "{}";
  }
  if (call == "gauges") {
    auto calling = participant.gauges(reader.text("installation"));
    const auto gauges = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { write_gauges(out, gauges); });
  }
  if (call == "log-seen") {
    auto calling = participant.log_seen(reader.text("installation"));
    const auto point = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { write_log_point(out, point); });
  }
  if (call == "note-log-seen") {
    auto calling = participant.note_log_seen(reader.text("installation"), read_log_point(reader));
    value_or_throw(co_await std::move(calling));
    co_return "{}";
  }
  if (call == "run-step") {
    auto gid = read_gid(reader);
    auto calling = participant.run_step(std::move(gid), read_steps(reader));
    const auto replies = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { write_replies(out, replies); });
  }
  if (call == "trim-steps") {
    auto calling = participant.trim_steps(reader.texts("saga_ids"));
    value_or_throw(co_await std::move(calling));
    co_return "{}";
  }
  if (call == "list-steps") {
    auto query = read_barriers_query(reader);
    if (query.limit > listed_max || query.saga_ids.size() > listed_max)
      reader.refuse("limit", "is too large");
    auto calling = participant.list_steps(std::move(query));
    const auto page = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { write_barriers(out, page); });
  }
  known = false;
  co_return std::string();
}

// A branch is entered for the length of one call: the sweep leaves it alone, and a second call for
// the same gid is refused. (The port allows none; a client that does not keep to it learns so.)
ParticipantHost::OpenBranch& ParticipantHost::enter(const BranchKey& key) {
  OpenBranch& branch = open_[key];
  if (branch.busy)
    throw CallFailed{{FailureKind::error, false, "", "another call for this gid is under way"}};
  branch.busy = true;
  return branch;
}

asio::awaitable<std::string> ParticipantHost::vote(const Hosted& hosted, const JsonReader& reader) {
  const BranchKey key{std::string(hosted.participant->name()), read_gid(reader)};
  auto operations = read_operations(reader);
  if (operations.size() > operations_max) reader.refuse("operations", "holds too many");
  if (stopping_)
    throw CallFailed{{FailureKind::unavailable, false, "", "the participant is stopping"}};
  if (open_.contains(key))
    throw CallFailed{{FailureKind::error, false, "", "this gid was voted on before"}};
  enter(key);
  auto superseding = release_superseded(key.first, key.second);
  co_await std::move(superseding);
  auto voting = hosted.participant->vote(key.second, std::move(operations));
  auto votes = co_await std::move(voting);
  // A vote that failed has left nothing open.
  if (!votes) {
    open_.erase(key);
    throw CallFailed{votes.failure()};
  }
  if (open_[key].given_up) {
    auto releasing = hosted.participant->release(key.second);
    co_await std::move(releasing);
    open_.erase(key);
    throw CallFailed{{FailureKind::timeout, false, "", "it was released while it voted"}};
  }
  open_[key] = {Clock::now()};
  co_return object([&](JsonWriter& out) { write_votes(out, votes.value()); });
}

asio::awaitable<std::string> ParticipantHost::judge(const Hosted& hosted,
                                                    const JsonReader& reader) {
  const BranchKey key{std::string(hosted.participant->name()), read_gid(reader)};
  auto candidates = read_mask(reader, "candidates");
  if (!open_.contains(key))
    throw CallFailed{{FailureKind::error, false, "", "this gid has no open branch here"}};
  enter(key);
  auto judging = hosted.participant->judge(key.second, std::move(candidates));
  auto votes = co_await std::move(judging);
  open_[key] = {Clock::now()};
  const auto judged = value_or_throw(std::move(votes));
  co_return object([&](JsonWriter& out) { write_votes(out, judged); });
}

asio::awaitable<std::string> ParticipantHost::prepare(const Hosted& hosted,
                                                      const JsonReader& reader) {
  const BranchKey key{std::string(hosted.participant->name()), read_gid(reader)};
  auto survivors = read_mask(reader, "survivors");
  // Once: whether it was prepared before, released, or never voted on.
  if (!open_.contains(key))
    throw CallFailed{{FailureKind::error, false, "", "this gid has no open branch here"}};
  enter(key);
  auto preparing = hosted.participant->prepare(key.second, std::move(survivors));
  auto done = co_await std::move(preparing);
  open_.erase(key);
  value_or_throw(std::move(done));
  co_return "{}";
}

asio::awaitable<std::string> ParticipantHost::release(const Hosted& hosted,
                                                      const JsonReader& reader) {
  const BranchKey key{std::string(hosted.participant->name()), read_gid(reader)};
  const auto found = open_.find(key);
  if (found == open_.end()) co_return "{}";
  // Its caller no longer waits for the vote: whenever that gets its locks, it gives them back.
  if (found->second.busy) {
    found->second.given_up = true;
    co_return "{}";
  }
  enter(key);
  auto releasing = hosted.participant->release(key.second);
  co_await std::move(releasing);
  open_.erase(key);
  co_return "{}";
}

asio::awaitable<void> ParticipantHost::sweep() {
  while (!stopping_) {
    clock_.expires_after(sweep_every);
    boost::system::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await clock_.async_wait(token);
    std::vector<BranchKey> late;
    const auto now = Clock::now();
    for (const auto& [key, branch] : open_)
      if (!branch.busy && branch.used + branch_open_max_ < now) late.push_back(key);
    auto releasing = release_all(std::move(late), "nobody came back for it");
    co_await std::move(releasing);
  }
}

// The process that left them is gone: a later one of the same coordinator votes here.
asio::awaitable<void> ParticipantHost::release_superseded(const std::string& participant,
                                                          const protocol::Gid& gid) {
  std::vector<BranchKey> left;
  for (const auto& [key, branch] : open_) {
    const protocol::Gid& other = key.second;
    const bool same =
        other.installation == gid.installation && other.coordinator == gid.coordinator;
    if (!branch.busy && key.first == participant && same && other.epoch < gid.epoch)
      left.push_back(key);
  }
  return release_all(std::move(left), "its coordinator was started again");
}

asio::awaitable<void> ParticipantHost::release_all(std::vector<BranchKey> keys,
                                                   std::string_view why) {
  for (const BranchKey& key : keys) open_[key].busy = true;
  for (const BranchKey& key : keys) {
    const std::string gid = format(key.second);
    logging::warn("a branch was left open and is released",
                  {{"participant", std::string_view(key.first)},
                   {"gid", std::string_view(gid)},
                   {"why", why}});
    auto releasing = hosted_.find(key.first)->second.participant->release(key.second);
    co_await std::move(releasing);
    open_.erase(key);
  }
}

void ParticipantHost::stop() {
  stopping_ = true;
  clock_.cancel();
}

}  // namespace txcoord::remote
