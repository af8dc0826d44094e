// See remote_service.hpp.
#include "participants/remote/remote_service.hpp"

#include <boost/json/parse.hpp>

#include "participants/remote/branch_json.hpp"
#include "txcoord/base/ids.hpp"
#include "txcoord/base/logging.hpp"

namespace txcoord::remote {
namespace {

using Clock = std::chrono::steady_clock;

Failure silence(const Exchange& exchange, CallRules rules, const Url& url) {
  const bool sent = exchange.kind != Exchange::Kind::not_sent;
  const bool late = exchange.kind == Exchange::Kind::late;
  return {late ? FailureKind::timeout : FailureKind::unavailable, sent && rules.unknown_if_silent,
          "", "the service at " + url.authority() + ": " + exchange.error};
}

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
                             LinkLimits limits)
    : link_(std::move(io), std::move(url), limits), token_(std::move(token)) {}

void RemoteService::tell(BreakerState before) {
  const BreakerState now = breaker_.state();
  if (now == before) return;
  const std::string where = link_.url().authority();
  if (now == BreakerState::half_open) {
    logging::debug("a service is probed", {{"service", std::string_view(where)}});
  } else {
    logging::warn("a service's circuit breaker",
                  {{"service", std::string_view(where)}, {"state", state_word(now)}});
  }
  for (const OnBreaker& hook : on_breaker_) hook(now);
}

bool RemoteService::allowed() {
  const BreakerState before = breaker_.state();
  const bool allow = breaker_.allow(Clock::now());
  tell(before);
  return allow;
}

void RemoteService::note(const Exchange& exchange) {
  const BreakerState before = breaker_.state();
  if (exchange.kind == Exchange::Kind::answered) {
    breaker_.answered();
  } else {
    breaker_.failed(Clock::now());
  }
  tell(before);
}

asio::awaitable<Exchange> RemoteService::exchange(const std::string& path, const std::string& body,
                                                  const std::string& correlation, CallRules rules) {
  HttpHeaders headers;
  headers.emplace_back("X-Correlation-ID", correlation);
  headers.emplace_back(request_id_header, uuid_v7());
  headers.emplace_back(timeout_header, std::to_string(rules.time_max.count()));
  if (!token_.empty()) headers.emplace_back("Authorization", "Bearer " + token_);
  auto posting = link_.post(path, body, std::move(headers), rules.time_max + answer_margin);
  Exchange made = co_await std::move(posting);
  note(made);
  co_return made;
}

asio::awaitable<Result<boost::json::value>> RemoteService::call(std::string participant,
                                                                std::string name, std::string body,
                                                                std::string correlation,
                                                                CallRules rules) {
  if (!allowed()) {
    co_return Failure{FailureKind::unavailable, false, "",
                      "the service at " + link_.url().authority() +
                          " did not answer lately: its circuit breaker is open"};
  }
  std::string path(protocol_path);
  path.append(participant).append("/").append(name);
  auto trying = exchange(path, body, correlation, rules);
  Exchange made = co_await std::move(trying);
  // A late answer is not asked for again: the caller's time is up.
  const bool again = rules.repeatable && made.kind != Exchange::Kind::answered &&
                     made.kind != Exchange::Kind::late;
  if (again && allowed()) {
    auto once_more = exchange(path, body, correlation, rules);
    made = co_await std::move(once_more);
  }
  if (made.kind != Exchange::Kind::answered) co_return silence(made, rules, link_.url());
  if (made.status != 200) {
    Failure failure = read_failure(made.status, made.body);
    if (rules.may_lack_it && made.status == 404 && failure.kind == FailureKind::error)
      failure = {FailureKind::not_found, false, "", "the service has no such call"};
    co_return failure;
  }
  boost::system::error_code error;
  boost::json::value answer = boost::json::parse(made.body, error);
  if (error) {
    co_return Failure{FailureKind::error, rules.unknown_if_silent, "",
                      "the answer of the service at " + link_.url().authority() + " is no JSON"};
  }
  co_return answer;
}

}  // namespace txcoord::remote
