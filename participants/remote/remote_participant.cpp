// See remote_participant.hpp.
#include "participants/remote/remote_participant.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/this_coro.hpp>

#include "participants/remote/branch_json.hpp"

namespace txcoord::remote {
namespace {

template <class T>
using Reply = asio::awaitable<Result<T>>;

// A list of this many votes, replies or gids: anything else is no answer to what was asked.
template <class T>
Result<std::vector<T>> of_size(Result<std::vector<T>> read, std::size_t size, CallRules rules) {
  if (read.ok() && read.value().size() != size)
    return Failure{FailureKind::error, rules.unknown_if_silent, "",
                   "the participant answered for another number of operations"};
  return read;
}

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

  Reply<protocol::Votes> vote(protocol::Gid gid, Operations operations) override {
    JsonWriter out;
    out.begin_object();
    write_gid(out, gid);
    write_operations(out, operations, name_);
    const CallRules rules{deadlines_.vote, false, false};
    auto calling = timed("vote", "vote", finish(out), gid, rules);
    const auto answer = co_await std::move(calling);
    auto votes = of_size(read_answer(answer, rules, read_votes), operations.size(), rules);
    // Who did not hear the vote may have a branch there that waits for locks, or holds them. Nobody
    // waits for this: the service is slow as it is, and releases it by itself after a while.
    const bool unheard = !votes && (votes.failure().kind == FailureKind::timeout ||
                                    votes.failure().kind == FailureKind::unavailable);
    if (unheard) {
      auto executor = co_await asio::this_coro::executor;
      const CallRules once{deadlines_.finish, true, false};
      auto releasing = give_up(service_, name_, gid_body(gid), format(gid), once);
      asio::co_spawn(executor, std::move(releasing), asio::detached);
    }
    co_return votes;
  }

  Reply<protocol::Votes> judge(protocol::Gid gid, OperationMask candidates) override {
    JsonWriter out;
    out.begin_object();
    write_gid(out, gid);
    write_mask(out, "candidates", candidates);
    const CallRules rules{deadlines_.vote, true, false};
    auto calling = ask("judge", finish(out), gid, rules);
    const auto answer = co_await std::move(calling);
    co_return of_size(read_answer(answer, rules, read_votes), candidates.size(), rules);
  }

  Reply<Done> prepare(protocol::Gid gid, OperationMask survivors) override {
    JsonWriter out;
    out.begin_object();
    write_gid(out, gid);
    write_mask(out, "survivors", survivors);
    const CallRules rules{deadlines_.prepare, false, true};
    auto calling = timed("prepare", "prepare", finish(out), gid, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, nothing);
  }

  asio::awaitable<void> release(protocol::Gid gid) override {
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

  Reply<Done> trim_witnesses(std::vector<protocol::Gid> gids) override {
    JsonWriter out;
    out.begin_object();
    write_gids(out, gids);
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

  Reply<Done> note_log_seen(std::string installation, protocol::LogPoint point) override {
    JsonWriter out;
    out.begin_object().field("installation", installation);
    write_log_point(out, point);
    const CallRules rules{deadlines_.finish, true, false};
    auto calling = ask("note-log-seen", finish(out), installation, rules);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules, nothing);
  }

  // May be repeated by whoever runs the saga, but not here: the first may still be under way, and
  // the second would only wait for its locks.
  Reply<std::vector<StepReply>> run_step(protocol::Gid gid, StepRequest request) override {
    JsonWriter out;
    out.begin_object();
    write_gid(out, gid);
    write_steps(out, request, name_);
    const CallRules rules{deadlines_.vote + deadlines_.prepare, false, true};
    auto calling = timed("step", "run-step", finish(out), gid, rules);
    const auto answer = co_await std::move(calling);
    co_return of_size(read_answer(answer, rules, read_replies), request.calls.size(), rules);
  }

  Reply<Done> trim_steps(std::vector<std::string> saga_ids) override {
    JsonWriter out;
    out.begin_object();
    write_texts(out, "saga_ids", saga_ids);
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
  static Done nothing(const JsonReader&) { return {}; }
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

  // Outlives this participant, if it must.
  static asio::awaitable<void> give_up(std::shared_ptr<RemoteService> service, std::string name,
                                       std::string body, std::string correlation, CallRules rules) {
    auto calling =
        service->call(std::move(name), "release", std::move(body), std::move(correlation), rules);
    co_await std::move(calling);
  }

  asio::awaitable<Result<boost::json::value>> ask(const char* call, std::string body,
                                                  std::string correlation, CallRules rules) {
    return service_->call(name_, call, std::move(body), std::move(correlation), rules);
  }
  asio::awaitable<Result<boost::json::value>> ask(const char* call, std::string body,
                                                  const protocol::Gid& gid, CallRules rules) {
    return ask(call, std::move(body), format(gid), rules);
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
