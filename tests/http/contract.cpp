// See contract.hpp.
#include "tests/http/contract.hpp"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "txcoord/http/schemas.hpp"

namespace txcoord::testing {
namespace {

const http::Route& route_of(const http::RouteSet& routes, std::string_view method,
                            std::string_view path) {
  for (const http::Route* route : routes) {
    if (route->method == method && route->path == path) return *route;
  }
  throw std::logic_error("no such route in the table");
}

std::string text(const std::vector<http::FieldError>& errors) {
  std::string all;
  for (const auto& error : errors) all += error.field + ": " + error.message + "; ";
  return all;
}

}  // namespace

void check_contract(std::string_view method, std::string_view path_template,
                    const Response& response, const http::RouteSet& routes) {
  const http::Route& route = route_of(routes, method, path_template);
  const auto declared = [&](const http::Success& success) {
    return success.status == response.status;
  };
  const auto success = std::find_if(route.successes.begin(), route.successes.end(), declared);
  INFO(method << ' ' << path_template << " answered " << response.status << ' ' << response.body);
  REQUIRE(success != route.successes.end());
  CHECK(response.header("content-type") == success->media);
  if (success->schema != nullptr && success->media == "application/json") {
    CHECK(text(http::check(*success->schema, response.parsed())) == "");
  }
}

void check_problem(const Response& response, std::string_view reason, bool retryable) {
  INFO(response.status << ' ' << response.body);
  REQUIRE(response.header("content-type") == "application/problem+json");
  const json::value problem = response.parsed();
  CHECK(text(http::check(http::schemas::problem, problem)) == "");
  CHECK(problem.at("reason").as_string() == json::string_view(reason.data(), reason.size()));
  CHECK(problem.at("status").as_int64() == response.status);
  CHECK(problem.at("retryable").as_bool() == retryable);
  CHECK(response.has("x-correlation-id"));
}

}  // namespace txcoord::testing
