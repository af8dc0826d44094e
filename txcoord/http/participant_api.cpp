// See participant_api.hpp.
#include "txcoord/http/participant_api.hpp"

#include <chrono>

#include "participants/remote/branch_json.hpp"
#include "participants/remote/remote_service.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/http/headers.hpp"
#include "txcoord/http/target.hpp"

namespace txcoord::http {
namespace {

using Clock = std::chrono::steady_clock;

// Of every version: what is not known here is still the protocol's to refuse.
constexpr std::string_view protocol_root = "/participant/";
constexpr std::string_view call_route = "/participant/v1/{participant}/{call}";

// Told before the body was read: the call is the path's, the request's id the header's.
Reply refused(const Request& request, int status, std::string detail) {
  const std::string_view path = split_target(request.target).path;
  const remote::Identity identity{
      std::string(path.substr(path.rfind('/') + 1)), {}, std::string(request.request_id)};
  const auto failure =
      remote::failure_body({FailureKind::error, false, "", std::move(detail)}, status);
  return {.status = status,
          .body = remote::answer_text(identity, failure),
          .content_type = remote::failure_media_type};
}

// The checks of every port, told as this protocol tells failures.
Reply refused(const Request& request, const Problem& problem) {
  Reply reply = refused(request, problem.status, problem.detail);
  for (const auto& header : problem.headers) reply.headers.push_back(header);
  if (problem.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

// What stands in no participant's path: the handler of 404.
class Nobody final : public RequestHandler {
 public:
  Judgement judge(const Request&) override {
    return {problem_reply(not_found("there is nothing at this path")), 0};
  }
  asio::awaitable<Reply> handle(const Request& request) override {
    Reply reply = std::move(*judge(request).answer);
    co_return reply;
  }
};

// The participant and the call of a path.
struct Called {
  std::string_view participant, call;
};
std::optional<Called> called(std::string_view path) {
  if (!path.starts_with(remote::protocol_path)) return std::nullopt;
  path.remove_prefix(remote::protocol_path.size());
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  return Called{path.substr(0, slash), path.substr(slash + 1)};
}

double seconds_since(Clock::time_point started) {
  return std::chrono::duration<double>(Clock::now() - started).count();
}

}  // namespace

ParticipantApi::ParticipantApi(remote::ParticipantHost& host, Metrics& metrics,
                               const HttpSettings& settings, std::string token,
                               RequestHandler* rest)
    : host_(host),
      metrics_(metrics),
      body_bytes_max_(settings.body_bytes_max),
      door_(settings),
      token_(std::move(token)),
      rest_(rest) {}

RequestHandler* ParticipantApi::other(const Request& request) const {
  static Nobody nobody;
  const bool ours = split_target(request.target).path.starts_with(protocol_root);
  if (ours && request.port == Port::open) return nullptr;
  return rest_ != nullptr ? rest_ : &nobody;
}

Judgement ParticipantApi::judge(const Request& request) {
  if (RequestHandler* handler = other(request)) return handler->judge(request);
  const auto started = Clock::now();
  Judgement judgement{answer_by_header(request), body_bytes_max_};
  if (judgement.answer) {
    const std::string correlation = correlation_or_new(request.correlation_id);
    finish(request, correlation, seconds_since(started), *judgement.answer);
  }
  return judgement;
}

asio::awaitable<Reply> ParticipantApi::handle(const Request& request) {
  if (RequestHandler* handler = other(request)) {
    auto answering = handler->handle(request);
    co_return co_await std::move(answering);
  }
  const auto started = Clock::now();
  const std::string correlation = correlation_or_new(request.correlation_id);
  Reply reply;
  try {
    auto calling = call(request);
    reply = co_await std::move(calling);
  } catch (const std::exception& defect) {
    logging::error("a handler failed", {{"correlation_id", std::string_view(correlation)},
                                        {"error", std::string_view(defect.what())}});
    reply = refused(request, 500, "a defect here");
  }
  finish(request, correlation, seconds_since(started), reply);
  co_return reply;
}

void ParticipantApi::finish(const Request& request, std::string_view correlation, double seconds,
                            Reply& reply) {
  reply.headers.emplace_back("X-Correlation-ID", std::string(correlation));
  if (!request.request_id.empty())
    reply.headers.emplace_back(remote::request_id_header, std::string(request.request_id));
  const std::string_view path = split_target(request.target).path;
  metrics_.http(path.starts_with(remote::protocol_path) ? call_route : "unmatched", request.method,
                reply.status, seconds);
  const logging::Fields fields = {{"correlation_id", correlation},
                                  {"request_id", request.request_id},
                                  {"target", request.target},
                                  {"status", std::int64_t{reply.status}},
                                  {"seconds", seconds}};
  // 503, 504 and refusals are the caller's to report; a defect or a stranger is ours.
  if (reply.status == 500 || reply.status == 401 || reply.status == 421) {
    logging::warn("request answered", fields);
  } else {
    logging::debug("request answered", fields);
  }
}

std::optional<Reply> ParticipantApi::answer_by_header(const Request& request) const {
  if (const auto problem = door_.check_caller(request, token_)) return refused(request, *problem);
  if (request.method != "POST") {
    Reply reply = refused(request, 405, "allowed here: POST");
    reply.headers.emplace_back("Allow", "POST");
    return reply;
  }
  if (const auto problem = check_token(request, token_)) return refused(request, *problem);
  const std::string_view path = split_target(request.target).path;
  if (!path.starts_with(remote::protocol_path)) return refused(request, 404, "no such version");
  const auto asked = called(path);
  if (!asked) return refused(request, 404, "no such call");
  if (!host_.serves(asked->participant)) return refused(request, 404, "no such participant here");
  if (const auto problem = check_body_header(request, BodyRule::required, body_bytes_max_))
    return refused(request, *problem);
  return std::nullopt;
}

asio::awaitable<Reply> ParticipantApi::call(const Request& request) {
  if (auto reply = answer_by_header(request)) co_return std::move(*reply);
  const auto asked = called(split_target(request.target).path);
  auto handling = host_.handle(asked->participant, asked->call, request.body, request.request_id);
  remote::HostAnswer answer = co_await std::move(handling);
  co_return Reply{.status = answer.status,
                  .body = std::move(answer.body),
                  .content_type = answer.status == 200 ? remote::answer_media_type
                                                       : remote::failure_media_type};
}

}  // namespace txcoord::http
