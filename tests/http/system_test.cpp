// Health, metrics, the admin port, and /openapi.json held against the route table and against
// itself.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <set>

#include "tests/http/contract.hpp"
#include "tests/http/test_server.hpp"
#include "txcoord/http/problem.hpp"
#include "txcoord/http/routes.hpp"
#include "txcoord/http/schemas.hpp"

using namespace txcoord;
using namespace txcoord::testing;

TEST_CASE("livez needs nothing; readyz needs the engine, and tells who is missing") {
  TestServer server;
  Client client = server.connect();
  check_contract("GET", "/livez", client.request("GET", "/livez"));
  check_contract("GET", "/readyz", client.request("GET", "/readyz"));
  server.on_io([&] {
    server.engine.is_ready = false;
    server.engine.health_map["log"] = {true, true, 0, 0, ""};
    server.engine.health_map["payment"] = {false, false, 2, 1.5, "connection refused"};
  });
  CHECK(client.request("GET", "/livez").status == 200);
  const Response brief = client.request("GET", "/readyz");
  CHECK(brief.status == 503);
  CHECK(brief.body == R"({"status":"not_ready"})");
  for (const char* path : {"/readyz?verbose", "/readyz?verbose=1"}) {
    const Response verbose = client.request("GET", path);
    CHECK(verbose.status == 503);
    check_contract("GET", "/readyz", verbose);
    CHECK(verbose.parsed().at("participants").as_array().size() == 2);
  }
  server.on_io([&] { server.engine.is_ready = true, server.engine.is_draining = true; });
  CHECK(client.request("GET", "/readyz").body == R"({"status":"draining"})");
}

TEST_CASE("the metrics say what /readyz would answer") {
  TestServer server;
  Client client = server.connect();
  const auto says = [&](const char* line) {
    return client.request("GET", "/metrics").body.find(line) != std::string::npos;
  };
  CHECK(says("txcoord_ready 1\n"));
  server.on_io([&] { server.engine.is_draining = true; });
  CHECK(says("txcoord_ready 0\n"));
  server.on_io([&] { server.engine.is_draining = false, server.engine.is_ready = false; });
  CHECK(says("txcoord_ready 0\n"));
}

TEST_CASE("requests are counted by route template, never by id") {
  TestServer server;
  Client client = server.connect();
  client.request("GET", std::string("/v1/orders/") + unknown_uuid);
  client.request("GET", "/nowhere/1");
  client.request("BREW", "/nowhere/2");
  const Response metrics = client.request("GET", "/metrics");
  check_contract("GET", "/metrics", metrics);
  const auto has = [&](const char* text) { return metrics.body.find(text) != std::string::npos; };
  CHECK(has(
      R"(txcoord_http_requests_total{code="404",method="GET",route="/v1/orders/{order_id}"} 1)"));
  CHECK(has(R"(txcoord_http_requests_total{code="404",method="GET",route="unmatched"} 1)"));
  CHECK(has(R"(txcoord_http_requests_total{code="404",method="other",route="unmatched"} 1)"));
  CHECK_FALSE(has("nowhere"));
}

TEST_CASE("the admin port serves the admin routes and not the public ones") {
  TestServer server;
  Client admin = server.connect_admin();
  check_contract("GET", "/admin/v1/transactions", admin.request("GET", "/admin/v1/transactions"));
  CHECK(admin.request("GET", std::string("/admin/v1/transactions/") + test_gid).status == 404);
  CHECK(admin.request("GET", "/v1/orders").status == 404);
  for (const char* path : {"/metrics", "/livez", "/readyz", "/openapi.json"})
    CHECK(admin.request("GET", path).status == 200);
  CHECK(admin.request("PUT", "/admin/v1/faults/moon", "{}").status == 404);
  CHECK(admin.request("PUT", "/admin/v1/faults/payment", R"({"rate":1})").status == 422);
}

namespace {

// Every schema of the document: typed, and closed if it is an object; references lead somewhere.
void check_schema(const json::value& schema, const json::object& named, const std::string& where) {
  INFO(where);
  const json::object& members = schema.as_object();
  if (const auto* reference = members.if_contains("$ref")) {
    const std::string text = reference->as_string().c_str();
    const std::string prefix = "#/components/schemas/";
    REQUIRE(text.starts_with(prefix));
    CHECK(named.contains(text.substr(prefix.size())));
    return;
  }
  REQUIRE(members.contains("type"));
  if (members.at("type").as_string() == "object") {
    REQUIRE(members.contains("additionalProperties"));
    CHECK_FALSE(members.at("additionalProperties").as_bool());
    for (const auto& property : members.at("properties").as_object()) {
      check_schema(property.value(), named, where + "." + std::string(property.key()));
    }
    for (const auto& required : members.at("required").as_array()) {
      CHECK(members.at("properties").as_object().contains(required.as_string()));
    }
  }
  if (members.at("type").as_string() == "array")
    check_schema(members.at("items"), named, where + "[]");
}

void check_content(const json::object& holder, const json::object& named,
                   const std::string& where) {
  if (!holder.contains("content")) return;
  for (const auto& media : holder.at("content").as_object()) {
    check_schema(media.value().at("schema"), named, where + " " + std::string(media.key()));
  }
}

}  // namespace

TEST_CASE("openapi.json is 3.1, has its port's routes, and leaves no object open or untyped") {
  TestServer server;
  const http::Port port = GENERATE(http::Port::open, http::Port::admin);
  Client client = port == http::Port::admin ? server.connect_admin() : server.connect();
  const Response response = client.request("GET", "/openapi.json");
  check_contract("GET", "/openapi.json", response);
  const json::value document = response.parsed();
  CHECK(document.at("openapi").as_string() == "3.1.0");
  const json::object& named = document.at("components").at("schemas").as_object();
  for (const auto& schema : named) check_schema(schema.value(), named, std::string(schema.key()));

  std::set<std::string> operation_ids;
  for (const http::Route* const served : http::coordinator_routes()) {
    const http::Route& route = *served;
    if (!http::serves(route, port)) {
      const json::string_view path(route.path.data(), route.path.size());
      CHECK_FALSE(document.at("paths").as_object().contains(path));
      continue;
    }
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(c | 0x20);
    const std::string where = method + " " + std::string(route.path);
    INFO(where);
    const json::object& operation = document.at("paths")
                                        .at(json::string_view(route.path.data(), route.path.size()))
                                        .at(method)
                                        .as_object();
    CHECK(operation_ids.insert(operation.at("operationId").as_string().c_str()).second);
    CHECK(operation.contains("requestBody") == (route.request != nullptr));
    if (operation.contains("requestBody"))
      check_content(operation.at("requestBody").as_object(), named, where);
    std::set<std::string> parameters;
    for (const auto& parameter : operation.at("parameters").as_array()) {
      parameters.insert(parameter.at("name").as_string().c_str());
      check_schema(parameter.at("schema"), named, where);
    }
    CHECK(parameters.contains("Idempotency-Key") == route.key_required);
    for (const http::QueryParameter& query : route.query)
      CHECK(parameters.contains(std::string(query.name)));
    for (const auto& answer : operation.at("responses").as_object()) {
      check_content(answer.value().as_object(), named, where);
    }
    for (const int status : route.problems)
      CHECK(operation.at("responses").as_object().contains(std::to_string(status)));
  }
}

TEST_CASE("every POST and PATCH that changes something requires a key, and nothing else does") {
  for (const http::Route& route : http::routes()) {
    INFO(route.path);
    // It only has somebody look, and may be asked for as often as one likes.
    const bool looks = route.path == "/admin/v1/sagas/search";
    CHECK(route.key_required == ((route.method == "POST" && !looks) || route.method == "PATCH"));
  }
}

TEST_CASE("the contract's list of reasons is the schema's and the problems'") {
  const auto known = http::all_reasons();
  const auto& declared = http::schemas::reason_names;
  CHECK(std::set<std::string_view>(known.begin(), known.end()) ==
        std::set<std::string_view>(std::begin(declared), std::end(declared)));
}

TEST_CASE("HEAD is GET without the body") {
  TestServer server;
  Client client = server.connect();
  const Response get = client.request("GET", "/openapi.json");
  const Response head = client.request("HEAD", "/openapi.json");
  CHECK(head.status == 200);
  CHECK(head.header("content-length") == std::to_string(get.body.size()));
  CHECK(client.request("HEAD", std::string("/v1/orders/") + unknown_uuid).status == 404);
  CHECK(client.request("GET", "/livez").status == 200);  // the stream is still in step
}
