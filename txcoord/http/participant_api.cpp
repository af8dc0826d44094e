// See participant_api.hpp.
#include "txcoord/http/participant_api.hpp"

#include <boost/beast/core/string.hpp>
#include <chrono>

#include "participants/remote/branch_json.hpp"
#include "participants/remote/remote_service.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/http/bearer.hpp"
#include "txcoord/http/headers.hpp"

namespace txcoord::http {
namespace {

using Clock = std::chrono::steady_clock;

// Of every version: what is not known here is still the protocol's to refuse.
constexpr std::string_view protocol_root = "/participant/";
constexpr std::string_view call_route = "/participant/v1/{participant}/{call}";

// Told before the body was read: the call is the path's, the request's id the header's.
Reply refused(const Request& request, int status, std::string detail) {
  const std::string_view path = request.target.substr(0, request.target.find('?'));
  const remote::Identity identity{
      std::string(path.substr(path.rfind('/') + 1)), {}, std::string(request.request_id)};
  const auto failure = remote::failure_body({FailureKind::error, false, "", std::move(detail)});
  return {.status = status,
          .body = remote::answer_text(identity, failure),
          .content_type = remote::failure_media_type};
}

// Also what keeps other origins' pages out: they may send text and forms alone.
bool is_json(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return boost::beast::iequals({type.data(), type.size()}, "application/json");
}

}  // namespace

ParticipantApi::ParticipantApi(remote::ParticipantHost& host, Metrics& metrics, std::string token,
                               Rest rest)
    : host_(host), metrics_(metrics), token_(std::move(token)), rest_(std::move(rest)) {}

asio::awaitable<Reply> ParticipantApi::handle(const Request& request) {
  const std::string_view path = request.target.substr(0, request.target.find('?'));
  if (!path.starts_with(protocol_root)) {
    auto answering = rest_(request);
    co_return co_await std::move(answering);
  }
  const auto started = Clock::now();
  const std::string correlation = correlation_or_new(request.correlation_id);
  Reply reply;
  try {
    auto calling = call(request, path);
    reply = co_await std::move(calling);
  } catch (const std::exception& defect) {
    logging::error("a handler failed", {{"correlation_id", std::string_view(correlation)},
                                        {"error", std::string_view(defect.what())}});
    reply = refused(request, 500, "a defect here");
  }
  reply.headers.emplace_back("X-Correlation-ID", correlation);
  if (!request.request_id.empty())
    reply.headers.emplace_back(remote::request_id_header, std::string(request.request_id));
  const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
  metrics_.http(path.starts_with(remote::protocol_path) ? call_route : "unmatched", request.method,
                reply.status, seconds);
  const logging::Fields fields = {{"correlation_id", std::string_view(correlation)},
                                  {"request_id", request.request_id},
                                  {"target", request.target},
                                  {"status", std::int64_t{reply.status}},
                                  {"seconds", seconds}};
  // 503, 504 and refusals are the caller's to report; a defect or a stranger is ours.
  if (reply.status == 500 || reply.status == 401) {
    logging::warn("request answered", fields);
  } else {
    logging::debug("request answered", fields);
  }
  co_return reply;
}

asio::awaitable<Reply> ParticipantApi::call(const Request& request, std::string_view path) {
  if (request.method != "POST") {
    Reply reply = refused(request, 405, "allowed here: POST");
    reply.headers.emplace_back("Allow", "POST");
    co_return reply;
  }
  if (!bears(request.authorization, token_)) {
    Reply reply = refused(request, 401, "the caller's token is missing or another one");
    reply.headers.emplace_back("WWW-Authenticate", "Bearer");
    co_return reply;
  }
  if (!path.starts_with(remote::protocol_path)) co_return refused(request, 404, "no such version");
  path.remove_prefix(remote::protocol_path.size());
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos) co_return refused(request, 404, "no such call");
  if (!is_json(request.content_type))
    co_return refused(request, 415, "a call's body is application/json");
  auto handling =
      host_.handle(path.substr(0, slash), path.substr(slash + 1), request.body, request.request_id);
  remote::HostAnswer answer = co_await std::move(handling);
  co_return Reply{.status = answer.status,
                  .body = std::move(answer.body),
                  .content_type = answer.status == 200 ? remote::answer_media_type
                                                       : remote::failure_media_type};
}

}  // namespace txcoord::http
