// See remote_participant.hpp.
#include "participants/remote/remote_participant.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <vector>

#include "participants/remote/branch_json.hpp"

namespace txcoord::remote {
namespace {

template <class T>
using Reply = asio::awaitable<Result<T>>;

// Of a release that nobody waits for: tries, and the pause after the first, which doubles.
constexpr int releases_max = 5;
constexpr std::chrono::milliseconds releases_pause_min{200};

class RemoteParticipant final : public Participant {
 public:
  RemoteParticipant(std::string name, std::shared_ptr<RemoteService> service,
                    ParticipantDeadlines deadlines, Metrics* metrics)
      : name_(std::move(name)),
        service_(std::move(service)),
        deadlines_(deadlines),
        metrics_(metrics) {}

  std::string_view name() const override { return name_; }
  bool touches(const Operation& operation) const override {
    return has_work_at(name_, operation.kind);
  }

  Reply<protocol::Votes> vote(protocol::Gid gid, Operations operations,
                              LockMode lock_mode) override {
    JsonWriter out;
    out.begin_object();
    write_gid(out, gid);
    write_lock_mode(out, lock_mode);
    write_operations(out, operations, name_);
    const CallRules rules{deadlines_.vote, false, true};
    auto order_ids = order_ids_of(operations);
    auto calling = timed("vote", "vote", finish(out), gid, rules);
    const auto answer = co_await std::move(calling);
    auto votes = read_answer(
        answer, rules, [&](const JsonReader& reader) { return read_votes(reader, order_ids); });
    if (votes) {
      asked_[gid] = std::move(order_ids);
      co_return votes;
    }
    if (!votes.failure().outcome_unknown) co_return votes;
    auto executor = co_await asio::this_coro::executor;
    co_return given_up(executor, gid, votes.failure());
  }

  Reply<protocol::Votes> judge(protocol::Gid gid, OperationMask candidates) override {
    JsonWriter out;
    out.begin_object();
    write_gid(out, gid);
    write_mask(out, "candidates", candidates);
    const CallRules rules{deadlines_.vote, true, true};
    auto calling = ask("judge", finish(out), gid, rules);
    const auto answer = co_await std::move(calling);
    auto votes = read_answer(
        answer, rules, [&](const JsonReader& reader) { return read_votes(reader, asked_[gid]); });
    if (votes) co_return votes;
    auto executor = co_await asio::this_coro::executor;
    co_return given_up(executor, gid, votes.failure());
  }

  Reply<Done> prepare(protocol::Gid gid, OperationMask survivors) override {
    JsonWriter out;
    out.begin_object();
    write_gid(out, gid);
    write_mask(out, "survivors", survivors);
    asked_.erase(gid);
    const CallRules rules{deadlines_.prepare, false, true};
    auto calling = timed("prepare", "prepare", finish(out), gid, rules);
    const auto answer = co_await std::move(calling);
    auto done = read_answer(answer, rules, nothing);
    if (!done && (done.failure().outcome_unknown || !answered(done.failure()))) {
      // Where it never came, the branch is still open. Where it did, this finds nothing to end.
      auto executor = co_await asio::this_coro::executor;
      given_up(executor, gid, done.failure());
    }
    co_return done;
  }

  asio::awaitable<void> release(protocol::Gid gid) override {
    asked_.erase(gid);
    const CallRules rules{deadlines_.finish, true, false};
    auto calling = ask("release", gid_body(gid), gid, rules);
    // Unanswered: the service releases it by itself after a while.
    co_await std::move(calling);
  }

  Reply<Done> commit_prepared(protocol::Gid gid) override {
    return end_prepared("commit", "commit", std::move(gid));
  }
  Reply<Done> rollback_prepared(protocol::Gid gid) override {
    return end_prepared("abort", "rollback", std::move(gid));
  }

  Reply<bool> has_witness(protocol::Gid gid) override {
    const CallRules rules{deadlines_.finish, true, false};
    auto calling = ask("witness", gid_body(gid), gid, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules,
                          [](const JsonReader& reader) { return reader.flag("present"); });
  }

  Reply<std::vector<protocol::Gid>> list_prepared(std::string installation) override {
    const CallRules rules{deadlines_.finish, true, false};
    auto calling = ask("list-prepared", installation_body(installation), installation, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, read_gids);
  }

  Reply<Done> trim_witnesses(std::vector<protocol::Gid> gids,
                             std::optional<FenceOwner> owner) override {
    JsonWriter out;
    out.begin_object();
    write_gids(out, gids);
    write_owner(out, owner);
    const CallRules rules{deadlines_.finish, true, false};
    auto calling = ask("trim-witnesses", finish(out), "trim", rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, nothing);
  }

  Reply<ParticipantGauges> gauges(std::string installation) override {
    const CallRules rules{deadlines_.finish, true, false};
    auto calling = ask("gauges", installation_body(installation), installation, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, read_gauges);
  }

  Reply<protocol::LogPoint> log_seen(std::string installation) override {
    const CallRules rules{deadlines_.finish, true, false};
    auto calling = ask("log-seen", installation_body(installation), installation, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, read_log_point);
  }

  Reply<Done> note_log_seen(std::string installation, protocol::LogPoint point,
                            std::optional<FenceOwner> owner) override {
    JsonWriter out;
    out.begin_object().field("installation", installation);
    write_log_point(out, point);
    write_owner(out, owner);
    const CallRules rules{deadlines_.finish, true, false};
    auto calling = ask("note-log-seen", finish(out), installation, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, nothing);
  }

  Reply<FenceOwner> raise_fence(FenceOwner owner, std::string replaces) override {
    JsonWriter out;
    out.begin_object();
    write_fence(out, owner);
    out.field_if("replaces", replaces);
    const CallRules rules = fence_rules();
    auto calling = ask("raise-fence", finish(out), owner.coordinator, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, read_fence);
  }

  Reply<std::vector<FenceOwner>> fences(std::string installation) override {
    const CallRules rules = fence_rules();
    auto calling = ask("fences", installation_body(installation), installation, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, read_fences);
  }

  // May be repeated by whoever runs the saga, but not here: the first may still be under way, and
  // the second would only wait for its locks.
  Reply<std::vector<StepReply>> run_step(protocol::Gid gid, StepRequest request) override {
    JsonWriter out;
    out.begin_object();
    write_gid(out, gid);
    write_steps(out, request, name_);
    const CallRules rules{deadlines_.vote + deadlines_.prepare, false, true};
    const auto saga_ids = saga_ids_of(request);
    auto calling = timed("step", "run-step", finish(out), gid, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules,
                          [&](const JsonReader& reader) { return read_replies(reader, saga_ids); });
  }

  Reply<Done> trim_steps(std::vector<std::string> saga_ids,
                         std::optional<FenceOwner> owner) override {
    JsonWriter out;
    out.begin_object();
    write_texts(out, "saga_ids", saga_ids);
    write_owner(out, owner);
    const CallRules rules{deadlines_.finish, true, false};
    auto calling = ask("trim-steps", finish(out), "trim", rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, nothing);
  }

  Reply<BarriersPage> list_steps(BarriersQuery query) override {
    JsonWriter out;
    out.begin_object();
    write_barriers_query(out, query);
    const CallRules rules{deadlines_.finish, true, false};
    auto calling = ask("list-steps", finish(out), query.installation, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, read_barriers);
  }

 private:
  CallRules fence_rules() const {
    CallRules rules{deadlines_.finish, true, false};
    rules.may_lack_it = true;
    return rules;
  }
  static Done nothing(const JsonReader& reader) {
    read_done(reader);
    return {};
  }
  static std::string finish(JsonWriter& out) { return out.end_object().take(); }
  static std::string gid_body(const protocol::Gid& gid) {
    JsonWriter out;
    out.begin_object();
    write_gid(out, gid);
    return finish(out);
  }
  static std::string installation_body(const std::string& installation) {
    JsonWriter out;
    out.begin_object().field("installation", installation);
    return finish(out);
  }

  static bool answered(const Failure& failure) {
    return failure.kind != FailureKind::unavailable && failure.kind != FailureKind::timeout &&
           failure.kind != FailureKind::unreadable;
  }

  // Who was not heard may have a branch open that waits for locks, or holds them. Nobody waits for
  // its end: the service is slow as it is, and releases it by itself after a while. That the
  // failure's outcome is unknown is settled by this; of a PREPARE the caller knows better.
  Failure given_up(const asio::any_io_executor& executor, const protocol::Gid& gid,
                   Failure failure) {
    asked_.erase(gid);
    auto releasing = give_up(service_, name_, gid, deadlines_.finish);
    asio::co_spawn(executor, std::move(releasing), asio::detached);
    failure.outcome_unknown = false;
    return failure;
  }

  // Outlives this participant, if it must.
  static asio::awaitable<void> give_up(std::shared_ptr<RemoteService> service, std::string name,
                                       protocol::Gid gid, std::chrono::milliseconds time_max) {
    const CallRules rules{time_max, true, false};
    auto executor = co_await asio::this_coro::executor;
    asio::steady_timer pause(executor);
    std::chrono::milliseconds next = releases_pause_min;
    for (int tries = 1;; ++tries, next *= 2) {
      Question question{name, "release", format(gid), format(gid)};
      auto calling = service->call(std::move(question), gid_body(gid), rules);
      const auto released = co_await std::move(calling);
      if (released || tries == releases_max) co_return;
      pause.expires_after(next);
      boost::system::error_code ignored;
      auto token = asio::redirect_error(asio::use_awaitable, ignored);
      co_await pause.async_wait(token);
    }
  }

  asio::awaitable<Result<boost::json::value>> ask(const char* call, std::string body,
                                                  std::string correlation, CallRules rules) {
    return service_->call({name_, call, {}, std::move(correlation)}, std::move(body), rules);
  }
  asio::awaitable<Result<boost::json::value>> ask(const char* call, std::string body,
                                                  const protocol::Gid& gid, CallRules rules) {
    const std::string text = format(gid);
    return service_->call({name_, call, text, text}, std::move(body), rules);
  }

  // What a branch's phase takes from here, the way there and back included.
  asio::awaitable<Result<boost::json::value>> timed(const char* phase, const char* call,
                                                    std::string body, protocol::Gid gid,
                                                    CallRules rules) {
    const auto start = std::chrono::steady_clock::now();
    auto calling = ask(call, std::move(body), gid, rules);
    auto answer = co_await std::move(calling);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    if (metrics_ != nullptr) metrics_->branch(name_, phase, spent.count());
    co_return answer;
  }

  // Once more only when asked: after a lost answer the second time finds nothing prepared, and the
  // witness has to tell what that means.
  Reply<Done> end_prepared(const char* phase, const char* call, protocol::Gid gid) {
    const CallRules rules{deadlines_.finish, false, true};
    auto calling = timed(phase, call, gid_body(gid), gid, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, nothing);
  }

  std::string name_;
  std::shared_ptr<RemoteService> service_;
  ParticipantDeadlines deadlines_;
  Metrics* metrics_;
  // The orders of each open branch: what a judge's votes must name. As many as there are groups.
  std::map<protocol::Gid, std::vector<std::string>> asked_;
};

}  // namespace

bool has_work_at(std::string_view participant, OperationKind kind) {
  if (participant == "order") return true;
  switch (kind) {
    case OperationKind::place:
    case OperationKind::cancel: return true;
    case OperationKind::ship: return participant != "payment";
    case OperationKind::deliver: return participant == "shipping";
    case OperationKind::create:
    case OperationKind::confirm:
    case OperationKind::fail: break;
  }
  return false;
}

std::unique_ptr<Participant> make_remote_participant(std::string name,
                                                     std::shared_ptr<RemoteService> service,
                                                     ParticipantDeadlines deadlines,
                                                     Metrics* metrics) {
  return std::make_unique<RemoteParticipant>(std::move(name), std::move(service), deadlines,
                                             metrics);
}

}  // namespace txcoord::remote
