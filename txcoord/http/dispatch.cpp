// See dispatch.hpp.
#include "txcoord/http/dispatch.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>

#include "txcoord/base/logging.hpp"
#include "txcoord/http/api.hpp"
#include "txcoord/http/target.hpp"

namespace txcoord::http {
namespace {

using Clock = std::chrono::steady_clock;

// A uuid in capital letters is the same uuid (RFC 9562, 4).
std::string as_kept(const Schema& schema, std::string text) {
  if (schema.kind != SchemaKind::text || schema.rule != TextRule::uuid) return text;
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

std::optional<Problem> bad_query(std::string_view name, std::string_view why) {
  std::vector<FieldError> errors{{std::string(name), std::string(why)}};
  return validation_problem(400, "the query is not valid", std::move(errors));
}

std::optional<Problem> read_query(std::string_view query, const Route& route, Call& call) {
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    auto name = percent_decode(pair.substr(0, equals));
    auto value = percent_decode(equals == std::string_view::npos ? std::string_view()
                                                                 : pair.substr(equals + 1));
    if (!name || !value) return bad_query("query", "is not valid percent-encoding");
    const auto known = [&](const QueryParameter& parameter) { return parameter.name == *name; };
    const auto parameter = std::find_if(route.query.begin(), route.query.end(), known);
    if (parameter == route.query.end()) return bad_query(*name, "is not a known parameter");
    const auto given = [&](const auto& earlier) { return earlier.first == *name; };
    if (std::any_of(call.query.begin(), call.query.end(), given))
      return bad_query(*name, "is given twice");
    auto errors = check_text(*parameter->schema, *name, as_kept(*parameter->schema, *value));
    if (!errors.empty())
      return validation_problem(400, "the query is not valid", std::move(errors));
    call.query.emplace_back(std::move(*name), as_kept(*parameter->schema, std::move(*value)));
  }
  for (const QueryParameter& parameter : route.query) {
    const auto given = [&](const auto& pair) { return pair.first == parameter.name; };
    const bool missing =
        parameter.required && std::none_of(call.query.begin(), call.query.end(), given);
    if (missing) return bad_query(parameter.name, "is required");
  }
  return std::nullopt;
}

// An id that we make and that is malformed names nothing: 404. One that a client chooses is told
// why.
std::optional<Problem> check_path(const Route& route, const std::string& value) {
  if (route.path_schema == nullptr) return std::nullopt;
  const std::size_t open = route.path.find('{') + 1;
  const std::string_view name = route.path.substr(open, route.path.find('}') - open);
  auto errors = check_text(*route.path_schema, name, value);
  if (errors.empty()) return std::nullopt;
  const bool chosen = name == "sku" || name == "customer_id";
  if (!chosen) return not_found("there is no such " + std::string(name));
  return validation_problem(400, "the path is not valid", std::move(errors));
}

std::optional<Problem> read_body(const Request& request, const Route& route, Call& call) {
  if (route.request == nullptr) return std::nullopt;
  if (request.body.empty() && route.body_optional) {
    call.body.emplace(json::object());
    return std::nullopt;
  }
  ParsedJson parsed = parse_json(request.body);
  if (parsed.error) {
    std::string detail = parsed.error->message;
    return validation_problem(400, std::move(detail), {std::move(*parsed.error)});
  }
  auto errors = check(*route.request, parsed.value);
  if (!errors.empty()) return validation_problem(422, "the body is not valid", std::move(errors));
  call.body.emplace(std::move(parsed.value));  // assigning would copy it out of its block
  return std::nullopt;
}

// Everything that can be refused without asking anybody.
std::optional<Problem> read_call(const Request& request, std::string_view query, Call& call) {
  const Route& route = *call.route;
  if (route.path_schema != nullptr) call.id = as_kept(*route.path_schema, std::move(call.id));
  if (auto problem = check_path(route, call.id)) return problem;
  if (auto problem = read_query(query, route, call)) return problem;
  if (route.key_required) {
    KeyHeader key = read_key(request.idempotency_keys);
    if (key.problem) return std::move(key.problem);
    call.key = std::move(key.key);
  }
  call.prefer = read_prefer(request.prefer);
  return read_body(request, route, call);
}

// Reads are many; what the engine answers it logs itself. What is left changes one database.
bool worth_a_line(const Call& call) {
  if (call.route == nullptr) return false;
  const Endpoint endpoint = call.route->endpoint;
  return endpoint == Endpoint::put_stock || endpoint == Endpoint::restock ||
         endpoint == Endpoint::put_wallet;
}

void log_reply(const Request& request, const Call& call, const Reply& reply, double seconds) {
  const logging::Fields fields = {{"correlation_id", call.correlation_id},
                                  {"traceparent", call.traceparent},
                                  {"method", request.method},
                                  {"route", call.route != nullptr ? call.route->path : "unmatched"},
                                  {"status", std::int64_t{reply.status}},
                                  {"order_id", call.order_id},
                                  {"gid", call.transaction_id},
                                  {"seconds", seconds}};
  // A 401 or 421 is a stranger, or a deployment whose tokens or names differ.
  if (reply.status >= 500 || reply.status == 401 || reply.status == 421) {
    logging::warn("request answered", fields);
  } else if (worth_a_line(call)) {
    logging::info("request answered", fields);
  } else {
    logging::debug("request answered", fields);
  }
}

Call new_call(const Request& request) {
  Call call;
  call.port = request.port;
  call.correlation_id = correlation_or_new(request.correlation_id);
  call.traceparent = traceparent_or_new(request.traceparent);
  return call;
}

double seconds_since(Clock::time_point started) {
  return std::chrono::duration<double>(Clock::now() - started).count();
}

BodyRule body_rule(const Route& route) {
  if (route.request == nullptr) return BodyRule::none;
  return route.body_optional ? BodyRule::optional : BodyRule::required;
}

Reply options_reply(const std::string& allowed) {
  Reply reply{.status = 204};
  reply.headers.emplace_back("Allow", allowed);
  return reply;
}

Surface coordinator_surface(const asio::any_io_executor& io, const HttpDependencies& dependencies) {
  const auto api = std::make_shared<Api>(io, dependencies);
  return {.routes = coordinator_routes(),
          .handle = [api](Call& call) { return api->handle(call); },
          .body_bytes_max = dependencies.settings.http.body_bytes_max};
}

// What is not served here, and who does serve it.
Reply no_route(const RouteSet& routes, const Request& request, const Target& target,
               const std::string& allowed) {
  const std::string_view server = served_by(routes, request.method, target.path);
  const std::string elsewhere = server.empty()
                                    ? ""
                                    : " here: ask the " + std::string(server) +
                                          (server == "coordinator" ? "" : " participant");
  if (allowed.empty()) return problem_reply(not_found("there is nothing at this path" + elsewhere));
  if (request.method == "OPTIONS") return options_reply(allowed);
  std::string detail = "allowed here: " + allowed;
  if (!server.empty()) detail += "; there is no " + std::string(request.method) + elsewhere;
  Reply refused = problem_reply(validation_problem(405, std::move(detail)));
  refused.headers.emplace_back("Allow", allowed);
  return refused;
}

}  // namespace

Dispatcher::Dispatcher(const asio::any_io_executor& io, const HttpDependencies& dependencies)
    : Dispatcher(coordinator_surface(io, dependencies), dependencies.settings.http,
                 dependencies.metrics) {}

Dispatcher::Dispatcher(Surface surface, const HttpSettings& settings, Metrics& metrics)
    : surface_(std::move(surface)), door_(settings), metrics_(metrics) {}

Judgement Dispatcher::judge(const Request& request) {
  const auto started = Clock::now();
  Call call = new_call(request);
  Judgement judgement{answer_by_header(request, call), surface_.body_bytes_max};
  if (judgement.answer) finish(request, call, seconds_since(started), *judgement.answer);
  return judgement;
}

asio::awaitable<Reply> Dispatcher::handle(const Request& request) {
  const auto started = Clock::now();
  Call call = new_call(request);
  Reply reply;
  try {
    auto answering = answer(request, call);
    reply = co_await std::move(answering);
  } catch (const std::exception& error) {
    logging::error("a handler failed", {{"correlation_id", call.correlation_id},
                                        {"order_id", call.order_id},
                                        {"error", std::string_view(error.what())}});
    reply =
        problem_reply({.status = 500,
                       .reason = "OUTCOME_UNKNOWN",
                       .detail = "a defect here; send it again under the same Idempotency-Key"});
  }
  finish(request, call, seconds_since(started), reply);
  co_return reply;
}

std::optional<Reply> Dispatcher::answer_by_header(const Request& request, Call& call) const {
  if (const auto problem = door_.check_caller(request, surface_.token))
    return problem_reply(*problem);
  if (request.method == "OPTIONS" && request.target == "*")
    return options_reply("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  const Target target = split_target(request.target);
  Match match = match_route(surface_.routes, request.port, request.method, target.path);
  if (match.route == nullptr) return no_route(surface_.routes, request, target, match.allowed);
  call.route = match.route;
  call.id = std::move(match.parameter);
  std::optional<Problem> problem;
  if (holds_data(*call.route)) problem = check_token(request, surface_.token);
  if (!problem) {
    problem = check_body_header(request, body_rule(*call.route), surface_.body_bytes_max);
  }
  if (problem) return problem_reply(*problem);
  return std::nullopt;
}

asio::awaitable<Reply> Dispatcher::answer(const Request& request, Call& call) {
  if (auto reply = answer_by_header(request, call)) co_return std::move(*reply);
  if (const auto problem = read_call(request, split_target(request.target).query, call))
    co_return problem_reply(*problem);
  auto handling = surface_.handle(call);
  co_return co_await std::move(handling);
}

// What every answer gets.
void Dispatcher::finish(const Request& request, const Call& call, double seconds, Reply& reply) {
  reply.headers.emplace_back("X-Correlation-ID", call.correlation_id);
  reply.headers.emplace_back("traceparent", call.traceparent);
  door_.add_origin_headers(request, reply);
  const std::string_view route = call.route != nullptr ? call.route->path : "unmatched";
  metrics_.http(route, request.method, reply.status, seconds);
  log_reply(request, call, reply, seconds);
}

}  // namespace txcoord::http
