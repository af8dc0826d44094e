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
// Ended branches that are remembered: at a thousand groups a second, for a quarter of a minute.
constexpr std::size_t ended_max = 16'384;
constexpr std::size_t listed_max = 1000;  // sagas that one call of list-steps tells of

template <class Write>
std::string object(Write write) {
  JsonWriter out;
  out.begin_object();
  write(out);
  return out.end_object().take();
}

HostAnswer refused(int status, std::string detail) {
  return {status, failure_body({FailureKind::error, false, "", std::move(detail)}, status)};
}

[[noreturn]] void fail(FailureKind kind, std::string detail) {
  throw CallFailed{{kind, false, "", std::move(detail)}};
}

}  // namespace

// The sweep leaves the branch alone, and a second call for the same gid is refused. (The port
// allows none; a client that does not keep to it learns so.) However the call ends, the branch is
// free again, and that it was given up meanwhile is not forgotten.
class ParticipantHost::Visit {
 public:
  // Its branch must be there.
  Visit(ParticipantHost& host, const BranchKey& key) : host_(host), key_(key) {
    OpenBranch& branch = host_.open_.at(key_);
    if (branch.busy) fail(FailureKind::error, "another call for this gid is under way");
    branch.busy = true;
  }
  ~Visit() {
    const auto found = host_.open_.find(key_);
    if (found == host_.open_.end()) return;
    found->second.busy = false;
    found->second.used = Clock::now();
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  ParticipantHost& host_;
  const BranchKey& key_;
};

ParticipantHost::ParticipantHost(asio::any_io_executor io,
                                 std::map<std::string, Hosted, std::less<>> hosted,
                                 std::chrono::milliseconds branch_open_max)
    : io_(std::move(io)),
      hosted_(std::move(hosted)),
      branch_open_max_(branch_open_max),
      clock_(io_) {}

asio::awaitable<HostAnswer> ParticipantHost::handle(std::string_view participant,
                                                    std::string_view call, std::string_view body,
                                                    std::string_view request_id) {
  // What is caught is answered after the handler: nothing is awaited in it.
  HostAnswer reply;
  Identity identity{std::string(call), {}, std::string(request_id)};
  try {
    auto answering = answer(participant, call, body, identity);
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
  reply.body = answer_text(identity, reply.body);
  co_return reply;
}

asio::awaitable<HostAnswer> ParticipantHost::answer(std::string_view participant,
                                                    std::string_view call, std::string_view body,
                                                    Identity& identity) {
  const auto found = hosted_.find(participant);
  if (found == hosted_.end()) co_return refused(404, "no such participant here");
  const auto parsed = parse_our_json(what, body);
  const JsonReader reader(what, parsed);
  identity = identity_of_request(reader, participant, call, identity.request_id);
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
    auto calling = participant.trim_witnesses(read_gids(reader), read_owner(reader));
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
    auto calling = participant.note_log_seen(reader.text("installation"), read_log_point(reader),
                                             read_owner(reader));
    value_or_throw(co_await std::move(calling));
    co_return "{}";
  }
  if (call == "raise-fence") {
    auto calling = participant.raise_fence(read_fence(reader), reader.text_or_empty("replaces"));
    const auto standing = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { write_fence(out, standing); });
  }
  if (call == "fences") {
    auto calling = participant.fences(reader.text("installation"));
    const auto fences = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { write_fences(out, fences); });
  }
  if (call == "run-step") {
    auto gid = read_gid(reader);
    auto steps = read_steps(reader);
    const auto saga_ids = saga_ids_of(steps);
    auto calling = participant.run_step(std::move(gid), std::move(steps));
    const auto replies = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { write_replies(out, replies, saga_ids); });
  }
  if (call == "trim-steps") {
    auto calling = participant.trim_steps(reader.texts("saga_ids"), read_owner(reader));
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

void ParticipantHost::check_new(const BranchKey& key) const {
  if (stopping_) fail(FailureKind::unavailable, "the participant is stopping");
  if (open_.contains(key)) fail(FailureKind::error, "this gid was voted on before");
  if (ended_.contains(key)) fail(FailureKind::error, "this gid was ended or released before");
}

asio::awaitable<std::string> ParticipantHost::vote(const Hosted& hosted, const JsonReader& reader) {
  const BranchKey key{std::string(hosted.participant->name()), read_gid(reader)};
  auto operations = read_operations(reader);
  if (operations.size() > operations_max) reader.refuse("operations", "holds too many");
  check_new(key);
  const auto order_ids = order_ids_of(operations);
  open_[key].order_ids = order_ids;
  const Visit visit(*this, key);
  auto superseding = release_superseded(key.first, key.second);
  co_await std::move(superseding);
  auto voting = hosted.participant->vote(key.second, std::move(operations), read_lock_mode(reader));
  auto votes = co_await std::move(voting);
  // A vote that failed has left nothing open.
  if (!votes) {
    end(key);
    throw CallFailed{votes.failure()};
  }
  auto ending = end_if_given_up(hosted, key);
  co_await std::move(ending);
  co_return object([&](JsonWriter& out) { write_votes(out, votes.value(), order_ids); });
}

asio::awaitable<std::string> ParticipantHost::judge(const Hosted& hosted,
                                                    const JsonReader& reader) {
  const BranchKey key{std::string(hosted.participant->name()), read_gid(reader)};
  auto candidates = reader.flags("candidates");
  if (!open_.contains(key)) fail(FailureKind::error, "this gid has no open branch here");
  const auto order_ids = open_.at(key).order_ids;
  const Visit visit(*this, key);
  if (candidates.size() != order_ids.size())
    reader.refuse("candidates", "are of another number than the operations");
  auto judging = hosted.participant->judge(key.second, std::move(candidates));
  auto votes = co_await std::move(judging);
  auto ending = end_if_given_up(hosted, key);
  co_await std::move(ending);
  const auto judged = value_or_throw(std::move(votes));
  co_return object([&](JsonWriter& out) { write_votes(out, judged, order_ids); });
}

asio::awaitable<std::string> ParticipantHost::prepare(const Hosted& hosted,
                                                      const JsonReader& reader) {
  const BranchKey key{std::string(hosted.participant->name()), read_gid(reader)};
  auto survivors = reader.flags("survivors");
  // Once: whether it was prepared before, released, or never voted on.
  if (!open_.contains(key)) fail(FailureKind::error, "this gid has no open branch here");
  const Visit visit(*this, key);
  auto preparing = hosted.participant->prepare(key.second, std::move(survivors));
  auto done = co_await std::move(preparing);
  // A release that came meanwhile has nothing to end: a yes is kept, and a no has left nothing.
  end(key);
  value_or_throw(std::move(done));
  co_return "{}";
}

asio::awaitable<std::string> ParticipantHost::release(const Hosted& hosted,
                                                      const JsonReader& reader) {
  const BranchKey key{std::string(hosted.participant->name()), read_gid(reader)};
  const auto found = open_.find(key);
  if (found == open_.end()) {
    end(key);  // its vote may still be on its way
    co_return "{}";
  }
  // Its caller no longer waits for the call under way: that ends the branch.
  if (found->second.busy) {
    found->second.given_up = true;
    co_return "{}";
  }
  const Visit visit(*this, key);
  auto releasing = hosted.participant->release(key.second);
  co_await std::move(releasing);
  end(key);
  co_return "{}";
}

asio::awaitable<void> ParticipantHost::end_if_given_up(const Hosted& hosted, const BranchKey& key) {
  if (!open_.at(key).given_up) co_return;
  auto releasing = hosted.participant->release(key.second);
  co_await std::move(releasing);
  end(key);
  fail(FailureKind::timeout, "it was released while it was under way");
}

void ParticipantHost::end(const BranchKey& key) {
  open_.erase(key);
  if (ended_.insert(key).second) ended_in_order_.push_back(key);
  while (ended_in_order_.size() > ended_max) {
    ended_.erase(ended_in_order_.front());
    ended_in_order_.pop_front();
  }
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
    end(key);
  }
}

void ParticipantHost::stop() {
  stopping_ = true;
  clock_.cancel();
}

}  // namespace txcoord::remote
