// See remote_service.hpp.
#include "participants/remote/remote_service.hpp"

#include "participants/remote/branch_json.hpp"
#include "txcoord/base/ids.hpp"
#include "txcoord/base/logging.hpp"

namespace txcoord::remote {
namespace {

using Clock = std::chrono::steady_clock;

// How often a service that is not understood, or that refuses us, is complained of.
constexpr std::chrono::seconds complaint_pause{5};

}  // namespace

std::string_view state_word(BreakerState state) {
  switch (state) {
    case BreakerState::closed: return "closed";
    case BreakerState::half_open: return "half_open";
    case BreakerState::open: break;
  }
  return "open";
}

RemoteService::RemoteService(asio::any_io_executor io, Url url, std::string token,
                             LinkLimits limits, Resolve resolve)
    : link_(std::move(io), std::move(url), limits, std::move(resolve)), token_(std::move(token)) {}

void RemoteService::tell(BreakerState before) {
  const BreakerState now = breaker_.state();
  if (now == before) return;
  const std::string where = link_.url().authority();
  if (now == BreakerState::half_open) {
    logging::debug("a service is probed", {{"service", std::string_view(where)}});
  } else {
    logging::warn("a service's circuit breaker",
                  {{"service", std::string_view(where)},
                   {"state", state_word(now)},
                   {"last_silence", std::string_view(last_silence_)}});
  }
  for (const OnBreaker& hook : on_breaker_) hook(now);
}

bool RemoteService::allowed() {
  const BreakerState before = breaker_.state();
  const bool allow = breaker_.allow(Clock::now());
  tell(before);
  return allow;
}

void RemoteService::note(const Heard& heard, const Question& question) {
  const BreakerState before = breaker_.state();
  if (heard.kind == Heard::Kind::answer || heard.kind == Heard::Kind::failure) {
    breaker_.answered();
  } else {
    last_silence_ = heard.failure.message;
    breaker_.failed(Clock::now());
  }
  tell(before);
  if (heard.kind != Heard::Kind::silence || Clock::now() - complained_ < complaint_pause) return;
  complained_ = Clock::now();
  const std::string where = link_.url().authority();
  logging::warn("a service's answer is not understood, and counts as none",
                {{"service", std::string_view(where)},
                 {"participant", std::string_view(question.participant)},
                 {"call", std::string_view(question.call)},
                 {"correlation_id", std::string_view(question.correlation)},
                 {"error", std::string_view(heard.failure.message)}});
}

// It answers, so its breaker is closed: it refuses us, whatever is asked, and only a person can
// mend that. The reason stays in the failure, for the log here and for /readyz: nobody should have
// to find it in the other process's log.
void RemoteService::explain_refusal(Heard& heard) {
  std::string_view mend;
  if (heard.status == 401)
    mend = "internal_token is not the same there and here. Set one token in both, and restart";
  if (heard.status == 421)
    mend = "it does not know itself by this name. Set http.hosts_allowed there, and restart it";
  if (heard.kind != Heard::Kind::failure || mend.empty()) return;
  const std::string where = link_.url().authority();
  heard.failure.message = "the service at " + where + " refuses this coordinator with status " +
                          std::to_string(heard.status) + ", nothing was done: " + std::string(mend);
  heard.failure.message_is_ours = true;
  if (Clock::now() - refusal_told_ < complaint_pause) return;
  refusal_told_ = Clock::now();
  logging::warn(
      "a service refuses this coordinator: orders that need it get 503",
      {{"service", std::string_view(where)}, {"error", std::string_view(heard.failure.message)}});
}

FailureKind RemoteService::kind_of_silence(const Exchange& exchange) {
  if (exchange.kind != Exchange::Kind::answered) return FailureKind::unavailable;
  switch (exchange.status) {
    case 502:
    case 503: return FailureKind::unavailable;  // whoever stands in between did not reach it
    case 504: return FailureKind::timeout;      // or waited in vain
    default: return FailureKind::unreadable;
  }
}

// An answer is believed when all of it is as the protocol says: the status, the media type, the
// form, and that it repeats the question. Whoever stands in between says none of that together;
// what it says may depend on what one of the operations holds.
RemoteService::Heard RemoteService::hear(const Exchange& exchange, const Identity& identity) {
  using Kind = Heard::Kind;
  const auto silence = [&exchange](std::string why) {
    return Heard{Kind::silence, {}, {kind_of_silence(exchange), false, "", std::move(why), true}};
  };
  switch (exchange.kind) {
    case Exchange::Kind::not_sent:
      return {Kind::not_sent, {}, {FailureKind::unavailable, false, "", exchange.error, true}};
    case Exchange::Kind::late:
      return {Kind::late, {}, {FailureKind::timeout, false, "", exchange.error, true}};
    case Exchange::Kind::no_answer: return silence(exchange.error);
    case Exchange::Kind::answered: break;
  }
  const std::string status = "status " + std::to_string(exchange.status);
  const bool success = exchange.status == 200;
  if (exchange.media_type != (success ? answer_media_type : failure_media_type) || exchange.encoded)
    return silence("the answer is no participant's: " + status + ", " +
                   (exchange.encoded ? "compressed" : "of another media type"));
  try {
    constexpr std::string_view what = "a participant's answer";
    boost::json::value answer = parse_our_json(what, exchange.body);
    const JsonReader reader(what, answer);
    std::string why;
    if (!repeats(reader, identity, success, why)) return silence(status + ": " + why);
    if (!success)
      return {Kind::failure, {}, read_failure(exchange.status, reader), exchange.status};
    if (reader.has("failure")) return silence(status + ": it says that it failed");
    return {Kind::answer, std::move(answer), {}};
  } catch (const JsonReadError& unreadable) {
    return silence(status + ": " + unreadable.what());
  }
}

asio::awaitable<RemoteService::Heard> RemoteService::ask(const Question& question,
                                                         const std::string& body, CallRules rules) {
  const Identity identity{question.call, question.gid, uuid_v7()};
  std::string path(protocol_path);
  path.append(question.participant).append("/").append(question.call);
  HttpHeaders headers;
  headers.emplace_back("X-Correlation-ID", question.correlation);
  headers.emplace_back(request_id_header, identity.request_id);
  headers.emplace_back(timeout_header, std::to_string(rules.time_max.count()));
  if (!token_.empty()) headers.emplace_back("Authorization", "Bearer " + token_);
  auto posting = link_.post(std::move(path), request_text(identity, question.participant, body),
                            std::move(headers), rules.time_max + answer_margin);
  const Exchange made = co_await std::move(posting);
  Heard heard = hear(made, identity);
  explain_refusal(heard);
  note(heard, question);
  co_return heard;
}

asio::awaitable<Result<boost::json::value>> RemoteService::call(Question question, std::string body,
                                                                CallRules rules) {
  using Kind = Heard::Kind;
  const std::string service = "the service at " + link_.url().authority();
  if (!allowed()) {
    co_return Failure{
        FailureKind::unavailable, false, "",
        service + " did not answer lately: its circuit breaker is open (" + last_silence_ + ")",
        true};
  }
  auto trying = ask(question, body, rules);
  Heard heard = co_await std::move(trying);
  // A late answer is not asked for again: the caller's time is up.
  const bool unheard = heard.kind == Kind::not_sent || heard.kind == Kind::silence;
  bool may_be_done = heard.kind == Kind::silence || heard.kind == Kind::late;
  if (rules.repeatable && unheard && allowed()) {
    auto once_more = ask(question, body, rules);
    heard = co_await std::move(once_more);
    // What the second try says of itself says nothing of the first.
    may_be_done = may_be_done || heard.kind == Kind::silence || heard.kind == Kind::late;
  }
  if (heard.kind == Kind::answer) co_return std::move(heard.answer);
  Failure failure = std::move(heard.failure);
  if (rules.may_lack_it && heard.kind == Kind::failure && heard.status == 404 &&
      failure.kind == FailureKind::error)
    co_return Failure{FailureKind::not_found, false, "", "the service has no such call"};
  if (heard.kind != Kind::failure) failure.message = service + ": " + failure.message;
  if (may_be_done && rules.unknown_if_silent) failure.outcome_unknown = true;
  co_return failure;
}

}  // namespace txcoord::remote
