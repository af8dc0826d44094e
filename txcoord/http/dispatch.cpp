// See dispatch.hpp.
#include "txcoord/http/dispatch.hpp"

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <chrono>
#include <exception>
#include <memory>

#include "txcoord/base/logging.hpp"
#include "txcoord/http/api.hpp"

namespace txcoord::http {
namespace {

using Clock = std::chrono::steady_clock;

struct Target {
  std::string_view path, query;
};

// Origin form, or the absolute form that a proxy sends. The rest of RFC 9112's forms is not for us.
Target split_target(std::string_view target) {
  const std::size_t scheme = target.find("://");
  if (!target.starts_with('/') && scheme != std::string_view::npos) {
    const std::size_t slash = target.find('/', scheme + 3);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  const std::size_t mark = target.find('?');
  if (mark == std::string_view::npos) return {target, {}};
  return {target.substr(0, mark), target.substr(mark + 1)};
}

// "application/json", maybe with charset=utf-8.
bool is_json(std::string_view content_type) {
  const std::string_view media = content_type.substr(0, content_type.find(';'));
  const std::size_t end = media.find_last_not_of(" \t");
  const std::string_view trimmed =
      end == std::string_view::npos ? std::string_view() : media.substr(0, end + 1);
  if (!boost::beast::iequals(trimmed, "application/json")) return false;
  if (media.size() == content_type.size()) return true;
  std::string parameter(content_type.substr(media.size() + 1));
  std::erase_if(parameter, [](char c) { return c == ' ' || c == '\t' || c == '"'; });
  return parameter.empty() || boost::beast::iequals(parameter, "charset=utf-8");
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
    auto errors = check_text(*parameter->schema, *name, *value);
    if (!errors.empty())
      return validation_problem(400, "the query is not valid", std::move(errors));
    call.query.emplace_back(std::move(*name), std::move(*value));
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
  if (!is_json(request.content_type))
    return validation_problem(415, "send Content-Type: application/json");
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
  // A 401 is a stranger, or a deployment whose tokens differ.
  if (reply.status >= 500 || reply.status == 401) {
    logging::warn("request answered", fields);
  } else if (worth_a_line(call)) {
    logging::info("request answered", fields);
  } else {
    logging::debug("request answered", fields);
  }
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
          .refuse = {}};
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
    : Dispatcher(coordinator_surface(io, dependencies), dependencies.metrics) {}

Dispatcher::Dispatcher(Surface surface, Metrics& metrics)
    : surface_(std::move(surface)), metrics_(metrics) {}

asio::awaitable<Reply> Dispatcher::handle(const Request& request) {
  const auto started = Clock::now();
  Call call;
  call.correlation_id = correlation_or_new(request.correlation_id);
  call.traceparent = traceparent_or_new(request.traceparent);
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
  reply.headers.emplace_back("X-Correlation-ID", call.correlation_id);
  reply.headers.emplace_back("traceparent", call.traceparent);
  const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
  const std::string_view route = call.route != nullptr ? call.route->path : "unmatched";
  metrics_.http(route, request.method, reply.status, seconds);
  log_reply(request, call, reply, seconds);
  co_return reply;
}

asio::awaitable<Reply> Dispatcher::answer(const Request& request, Call& call) {
  if (request.method == "OPTIONS" && request.target == "*") {
    co_return options_reply("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  }
  const Target target = split_target(request.target);
  Match match = match_route(surface_.routes, request.port, request.method, target.path);
  if (match.route == nullptr) co_return no_route(surface_.routes, request, target, match.allowed);
  call.route = match.route;
  call.id = std::move(match.parameter);
  std::optional<Problem> problem;
  if (surface_.refuse) problem = surface_.refuse(request, *call.route);
  if (!problem) problem = read_call(request, target.query, call);
  Reply reply;
  if (problem) {
    reply = problem_reply(*problem);
  } else {
    auto handling = surface_.handle(call);
    reply = co_await std::move(handling);
  }
  reply.head_only = match.head;
  co_return reply;
}

}  // namespace txcoord::http
