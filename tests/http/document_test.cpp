// The document held against the answers: whatever a route is asked, on whichever port, the status
// of its answer stands in that port's /openapi.json, and the answer keeps to what stands there.
#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>

#include "tests/http/contract.hpp"
#include "tests/http/participant_server.hpp"
#include "txcoord/http/schemas.hpp"

using namespace txcoord;
using namespace txcoord::testing;

namespace {

struct Ask {
  const char* name;
  std::string query, headers, body;
};

constexpr const char* json_type = "Content-Type: application/json\r\n";

// What a client may get wrong, or right.
std::vector<Ask> asks(const http::Route& route, const std::string& token) {
  const std::string key =
      route.key_required ? key_header("k-" + std::string(route.operation_id)) : "";
  const std::string type = json_type;
  const std::string example(route.request != nullptr ? route.request->example : "");
  const std::string right = token + type + key;
  return {{"as the document says", "", right, example},
          {"the same again", "", right, example},
          {"as the document says, and later", "", right + "Prefer: respond-async\r\n", example},
          {"no key", "", token + type, example},
          {"no token", "", type + key, example},
          {"an unknown parameter", "?colour=red", right, example},
          {"a page that is none", "?limit=0", right, example},
          {"parameters that do not go together",
           "?customer_id=a&order_id=" + std::string(unknown_uuid), right, example},
          {"no body", "", right, ""},
          {"an empty object", "", right, "{}"},
          {"a field of another type", "", right, R"({"quantity":"1","balance":[],"mode":1})"},
          {"a body that is not JSON", "", right, "{"},
          {"a body of another type", "", token + key + "Content-Type: text/plain\r\n", "a"},
          {"a body in a coding", "", right + "Content-Encoding: gzip\r\n", "a"},
          {"a body that is too long", "", right, std::string(70'000, ' ')},
          {"another host", "", right + "Host: evil.example\r\n", example},
          {"a web page", "", right + "Origin: https://evil.example\r\n", example},
          {"an expectation", "", right + "Expect: a-miracle\r\n", example}};
}

std::string path_of(const http::Route& route, std::string_view id) {
  std::string path(route.path);
  if (const std::size_t open = path.find('{'); open != std::string::npos)
    path.replace(open, path.find('}') - open + 1, id);
  return path;
}

Response send(Client client, std::string_view method, const std::string& target, const Ask& ask) {
  const bool own_host = ask.headers.find("Host: ") != std::string::npos;
  std::string bytes(method);
  bytes += " " + target + ask.query + " HTTP/1.1\r\n" + (own_host ? "" : "Host: localhost\r\n") +
           ask.headers;
  if (!ask.body.empty()) bytes += "Content-Length: " + std::to_string(ask.body.size()) + "\r\n";
  client.send(bytes + "\r\n" + ask.body);
  return client.receive(method == "HEAD");
}

// Of one port.
class Held {
 public:
  Held(std::function<Client()> connect, std::string token)
      : connect_(std::move(connect)), token_(std::move(token)) {
    Client client = connect_();
    document_ = client.request("GET", "/openapi.json").parsed();
  }

  void check(const http::Route& route, const std::string& id) {
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(c | 0x20);
    const json::string_view path(route.path.data(), route.path.size());
    const json::object& responses =
        document_.at("paths").at(path).at(method).at("responses").as_object();
    for (const Ask& ask : asks(route, token_)) {
      const Response response = send(connect_(), route.method, path_of(route, id), ask);
      INFO(route.method << ' ' << route.path << ", " << ask.name << ": " << response.status << ' '
                        << response.body.substr(0, 300));
      REQUIRE(responses.contains(std::to_string(response.status)));
      const json::object& said = responses.at(std::to_string(response.status)).as_object();
      if (said.contains("content")) {
        const std::string media = response.header("content-type");
        CHECK(said.at("content").as_object().contains(media));
      }
      for (const char* name : {"location", "retry-after", "preference-applied", "allow",
                               "idempotency-replayed", "www-authenticate", "accept-encoding"})
        if (response.has(name)) CHECK(says_header(said, name));
      if (response.header("content-type") == "application/problem+json") {
        CHECK(http::check(http::schemas::problem, response.parsed()).empty());
        CHECK(response.parsed().at("status").as_int64() == response.status);
      }
      statuses.insert(response.status);
    }
  }

  std::set<int> statuses;

 private:
  static bool says_header(const json::object& response, std::string_view name) {
    for (const auto& header : response.at("headers").as_object()) {
      std::string said(header.key());
      for (char& c : said) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      if (said == name) return true;
    }
    return false;
  }

  std::function<Client()> connect_;
  std::string token_;
  json::value document_;
};

void check_all(Held& held, const http::RouteSet& routes, http::Port port) {
  for (const http::Route* route : routes) {
    if (!http::serves(*route, port)) continue;
    for (const char* id : {unknown_uuid, "payment", "book-100", "%zz", "a%20b"})
      held.check(*route, id);
  }
}

}  // namespace

TEST_CASE("every_status_that_a_route_answers_stands_in_its_ports_document") {
  TestServer server;
  for (const bool away : {false, true}) {
    server.on_io([&] {
      server.engine.is_ready = !away;
      if (away) server.world.away = {"order", "inventory", "payment", "shipping", "log"};
    });
    Held rest([&] { return server.connect(); }, "");
    check_all(rest, http::coordinator_routes(), http::Port::open);
    Held admin([&] { return server.connect_admin(); }, "");
    check_all(admin, http::coordinator_routes(), http::Port::admin);
    for (const std::string token : {"", "s3cret"}) {
      const auto service =
          ParticipantServer::beside(server, {"order", "inventory", "payment", "shipping"}, token);
      const std::string bearer = token.empty() ? "" : "Authorization: Bearer " + token + "\r\n";
      Held alone([&] { return service->connect(); }, bearer);
      check_all(alone, service->routes(), http::Port::open);
      CHECK(alone.statuses.contains(401) == !token.empty());
      Held alone_admin([&] { return service->connect_admin(); }, bearer);
      check_all(alone_admin, service->routes(), http::Port::admin);
    }
    // It has met what it is to meet.
    for (const int status : {400, 403, 404, 413, 415, 417, 421, 422}) {
      INFO(status);
      CHECK(rest.statuses.contains(status));
    }
    CHECK(rest.statuses.contains(503) == away);
  }
}

TEST_CASE("the document's examples are requests and answers that keep to it") {
  const auto fits = [](const http::Schema& schema) {
    INFO(schema.name);
    REQUIRE_FALSE(schema.example.empty());
    const json::value example =
        json::parse(json::string_view(schema.example.data(), schema.example.size()));
    CHECK(http::check(schema, example).empty());
  };
  for (const http::Route& route : http::routes())
    if (route.request != nullptr) fits(*route.request);
  for (const http::Schema* answer :
       {&http::schemas::problem, &http::schemas::stock, &http::schemas::wallet})
    fits(*answer);
}
