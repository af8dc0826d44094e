// What is checked of a request before its body is read, on every kind of port alike: for whom it
// is, who made it, who sent it, and what its body is said to be.
#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <list>

#include "tests/http/contract.hpp"
#include "tests/http/participant_server.hpp"
#include "txcoord/http/connection_shares.hpp"
#include "txcoord/http/door.hpp"
#include "txcoord/http/media_type.hpp"
#include "txcoord/http/target.hpp"

using namespace txcoord;
using namespace txcoord::testing;

namespace {

// A request that changes something on each kind of port, and would be done if nothing forbade it.
struct Knocking {
  const char* name;
  std::function<Client()> connect;
  std::string method, path, body;
};

struct Ports {
  TestServer coordinator;
  std::shared_ptr<const ParticipantServer> participant =
      ParticipantServer::beside(coordinator, {"inventory", "payment"});

  std::vector<Knocking> all() {
    const std::string put = R"({"available":1,"unit_price":2})";
    const auto rest = [this] { return coordinator.connect(); };
    const auto admin = [this] { return coordinator.connect_admin(); };
    const auto service = [this] { return participant->connect(); };
    return {{"REST", rest, "PUT", "/v1/inventory/book-1", put},
            {"admin", admin, "PUT", "/admin/v1/faults/payment", R"({"mode":"down"})"},
            {"a participant's REST", service, "PUT", "/v1/inventory/book-2", put},
            {"the branch protocol", service, "POST", "/participant/v1/payment/list-prepared",
             R"({"installation":"0123abcd"})"}};
  }
};

std::string with_host(const Knocking& knocking, std::string_view host, std::string_view headers) {
  return knocking.method + " " + knocking.path + " HTTP/1.1\r\nHost: " + std::string(host) +
         "\r\n" + std::string(headers) + "Content-Length: " + std::to_string(knocking.body.size()) +
         "\r\n\r\n" + knocking.body;
}

Response knock(const Knocking& knocking, std::string_view host, std::string_view headers) {
  Client client = knocking.connect();
  client.send(with_host(knocking, host, headers));
  return client.receive();
}

constexpr const char* json_type = "Content-Type: application/json\r\n";

}  // namespace

TEST_CASE("a_rebound_name_reaches_no_port") {
  Ports ports;
  for (const Knocking& knocking : ports.all()) {
    INFO(knocking.name);
    for (const char* host :
         {"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example",
          "evil.local", "evil", "[::1", "::1", "127.0.0.1:80:80", "localhost:http"}) {
      INFO(host);
      CHECK(knock(knocking, host, json_type).status == 421);
    }
    for (const char* host : {"localhost", "LOCALHOST:1", "localhost.", "app.localhost",
                             "127.0.0.1:8080", "[::1]:8080", "10.1.2.3", "test"}) {
      INFO(host);
      const int status = knock(knocking, host, json_type).status;
      CHECK((status == 200 || status == 201));
    }
    Knocking absolute = knocking;
    absolute.path = "http://evil.example" + knocking.path;
    CHECK(knock(absolute, "localhost", json_type).status == 421);
  }
}

TEST_CASE("a_web_page_of_another_origin_changes_nothing_on_any_port") {
  Ports ports;
  for (const Knocking& knocking : ports.all()) {
    INFO(knocking.name);
    const std::string type = json_type;
    for (const char* page :
         {"Origin: https://evil.example\r\n", "Origin: null\r\n", "Origin: http://localhost\r\n",
          "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n",
          "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: "
          "document\r\n"}) {
      INFO(page);
      CHECK(knock(knocking, "localhost", type + page).status == 403);
    }
    // What a page may send without asking first: no Origin would help it.
    for (const char* simple : {"Content-Type: text/plain\r\n", "",
                               "Content-Type: application/x-www-form-urlencoded\r\n"}) {
      CHECK(knock(knocking, "localhost", simple).status == 415);
    }
  }
  ports.coordinator.on_io([&] {
    CHECK(ports.coordinator.world.stock.empty());
    CHECK_FALSE(ports.coordinator.fault("payment").faults().has_value());
  });
}

TEST_CASE("a link to what is shown may be followed, and no page may load it") {
  TestServer server;
  Client client = server.connect();
  const std::string cross = "Sec-Fetch-Site: cross-site\r\n";
  CHECK(client
            .request("GET", "/openapi.json", {},
                     cross + "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n")
            .status == 200);
  CHECK(client
            .request("GET", "/openapi.json", {},
                     cross + "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n")
            .status == 403);
  CHECK(client.request("GET", "/livez", {}, "Sec-Fetch-Site: none\r\n").status == 200);
}

TEST_CASE("an origin of the settings may call, and its browser is told so") {
  TestServer server([](Settings& s) { s.http.origins_allowed = "https://shop.example"; });
  Client client = server.connect();
  const std::string origin = "Origin: https://shop.example\r\n";
  const Response seen = client.request("GET", "/livez", {}, origin);
  CHECK(seen.status == 200);
  CHECK(seen.header("access-control-allow-origin") == "https://shop.example");
  CHECK(seen.header("vary") == "Origin");
  const Response asked = client.request("OPTIONS", "/v1/orders", {},
                                        origin + "Access-Control-Request-Method: POST\r\n");
  CHECK(asked.status == 204);
  CHECK(asked.header("access-control-allow-headers").find("Idempotency-Key") != std::string::npos);
  const Response other = client.request("GET", "/livez", {}, "Origin: https://evil.example\r\n");
  CHECK(other.status == 403);
  check_problem(other, "ORIGIN_NOT_ALLOWED", false);
  CHECK_FALSE(other.has("access-control-allow-origin"));
}

TEST_CASE("names of a private network count beyond loopback, others must be configured") {
  const auto status_of = [](const std::string& address, const std::string& allowed,
                            const std::string& host, std::string_view authorization = {}) {
    HttpSettings settings;
    settings.address = address;
    settings.hosts_allowed = allowed;
    const http::Door door(settings);
    http::Request request;
    request.method = "GET";
    request.target = "/livez";
    request.host = host;
    request.authorization = authorization;
    const auto problem = door.check_caller(request, "s3cret");
    return problem ? problem->status : 200;
  };
  for (const char* host : {"coordinator-1:8081", "payment.internal:8080", "a.svc.cluster.local"}) {
    INFO(host);
    CHECK(status_of("0.0.0.0", "", host) == 200);
    CHECK(status_of("::", "", host) == 200);
    CHECK(status_of("127.0.0.1", "", host) == 421);
    CHECK(status_of("127.0.0.1", "*", host) == 200);
  }
  CHECK(status_of("0.0.0.0", "", "orders.example.com") == 421);
  CHECK(status_of("0.0.0.0", "a, Orders.Example.com", "orders.example.COM:443") == 200);
  CHECK(status_of("0.0.0.0", "example.com", "orders.example.com") == 421);
  // A coordinator goes on calling a participant by the name in its settings.
  CHECK(status_of("0.0.0.0", "", "payment.example.com", "Bearer s3cret") == 200);
  CHECK(status_of("0.0.0.0", "", "payment.example.com", "Bearer other") == 421);
}

TEST_CASE("a_strangers_body_is_not_read_before_the_token") {
  TestServer coordinator;
  const auto participant =
      ParticipantServer::beside(coordinator, {"inventory", "payment"}, "s3cret");
  const auto answer = [&](const std::string& path, const std::string& headers, int length) {
    Client client = participant->connect();
    const bool put = path.starts_with("/v1/");
    client.send((put ? "PUT " : "POST ") + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers +
                "Content-Length: " + std::to_string(length) + "\r\n\r\n");
    return client.receive();  // and nothing of the body was sent
  };
  for (const char* path : {"/participant/v1/payment/vote", "/v1/inventory/book-1"}) {
    INFO(path);
    const Response stranger = answer(path, json_type, 60'000);
    CHECK(stranger.status == 401);
    CHECK(stranger.header("connection") == "close");
    CHECK(stranger.has("www-authenticate"));
    const std::string token = "Authorization: Bearer s3cret\r\n";
    CHECK(answer(path, token, 60'000).status == 415);
    CHECK(answer(path, token + json_type, 100'000'000).status == 413);
    CHECK(answer(path, token + json_type + "Content-Encoding: gzip\r\n", 60'000).status == 415);
  }
  CHECK(answer("/v1/nowhere", json_type, 60'000).status == 404);
  CHECK(answer("/participant/v9/payment/vote", json_type, 60'000).status == 401);
}

TEST_CASE(
    "what an answer by the header leaves unread ends the connection, what came along does not") {
  TestServer server;
  Client kept = server.connect();
  CHECK(kept.request("POST", "/v1/nowhere", R"({"a":1})").status == 404);
  CHECK(kept.request("PUT", "/livez", R"({"a":1})").status == 405);
  CHECK(kept.request("GET", "/livez", R"({"a":1})").status == 400);  // takes no body
  CHECK(kept.request("GET", "/livez").status == 200);
  Client cut = server.connect();
  cut.send("POST /v1/nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nGET /livez");
  CHECK(cut.receive().status == 404);
  CHECK(cut.closed());
}

TEST_CASE("HEAD_has_no_body_on_any_answer_and_the_stream_stays_in_step") {
  Ports ports;
  const auto in_step = [](Client& client, const char* path, int status,
                          const std::string& headers = {}) {
    INFO(path);
    client.send("HEAD " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + headers +
                "\r\n" + "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(client.receive(/*head=*/true).status == status);
    CHECK(client.receive().body == R"({"status":"live"})");
  };
  Client rest = ports.coordinator.connect();
  in_step(rest, "/livez", 200);
  in_step(rest, "/nowhere", 404);
  in_step(rest, "/v1/orders?limit=0", 400);
  in_step(rest, "/v1/orders/1/cancel", 405);
  in_step(rest, "/v1/inventory/none", 404);
  in_step(rest, "/livez", 403, "Origin: https://evil.example\r\n");
  in_step(rest, "/livez", 415, "Content-Encoding: gzip\r\n");
  Client admin = ports.coordinator.connect_admin();
  in_step(admin, "/v1/orders", 404);
  in_step(admin, "/admin/v1/faults/payment", 405);
  Client service = ports.participant->connect();
  in_step(service, "/participant/v1/payment/vote", 405);
  in_step(service, "/v1/orders", 404);
  ports.coordinator.on_io([&] { ports.coordinator.world.away = {"inventory"}; });
  in_step(rest, "/v1/inventory/none", 503);

  // Answers of the parser end the connection: after them comes nothing at all.
  for (const std::string& broken :
       {std::string("HEAD /livez HTTP/1.1\r\n\r\n"), std::string("HEAD /livez HTTP/2.0\r\n\r\n"),
        "HEAD /livez HTTP/1.1\r\nHost: t\r\nX-A: " + std::string(9000, 'a')}) {
    Client client = ports.coordinator.connect();
    client.send(broken);
    CHECK(client.receive(/*head=*/true).status >= 400);
    CHECK(client.closed());
  }
}

TEST_CASE("health_answers_while_one_peer_holds_every_connection") {
  TestServer server([](Settings& s) {
    s.http.connections_max = 40;
    s.http.connections_per_peer_max = 10;
    s.http.admin_connections_max = 4;
  });
  std::list<Client> held;
  for (int i = 0; i < 10; ++i) held.emplace_back(server.port());
  for (int i = 0; i < 2; ++i) held.emplace_back(server.server().admin_port());
  for (Client& client : held) CHECK(client.request("GET", "/livez").status == 200);
  for (const bool admin : {false, true}) {
    const auto connect = [&] { return admin ? server.connect_admin() : server.connect(); };
    for (const char* path : {"/livez", "/readyz", "/metrics"}) {
      Client client = connect();
      const Response seen = client.request("GET", path);
      CHECK(seen.status == 200);
      CHECK(seen.header("connection") == "close");
      CHECK(client.closed());
    }
    Client other = connect();
    const Response refused = other.request("GET", admin ? "/admin/v1/modes" : "/v1/orders");
    CHECK(refused.status == 503);
    check_problem(refused, "OVERLOADED", true);
    CHECK(refused.has("retry-after"));
    // Whoever says nothing keeps no place in the reserve.
    Client silent = connect();
    CHECK(silent.receive().status == 503);
    CHECK(silent.closed());
  }
}

TEST_CASE("each peer has its share of a port, and of its reserve") {
  namespace ip = boost::asio::ip;
  using http::Admission;
  http::ConnectionShares shares({.all = 5, .per_peer = 3}, {.all = 2, .per_peer = 1});
  const auto a = ip::make_address("192.0.2.1");
  const auto b = ip::make_address("192.0.2.2");
  for (int i = 0; i < 3; ++i) CHECK(shares.admit(a) == Admission::served);
  CHECK(shares.admit(ip::make_address("::ffff:192.0.2.1")) == Admission::health_only);
  CHECK(shares.admit(a) == Admission::turned_away);
  for (int i = 0; i < 2; ++i) CHECK(shares.admit(b) == Admission::served);
  CHECK(shares.admit(b) == Admission::health_only);
  CHECK(shares.admit(ip::make_address("192.0.2.3")) == Admission::turned_away);
  shares.leave(a, Admission::health_only);
  CHECK(shares.admit(a) == Admission::health_only);
  shares.leave(b, Admission::served);
  CHECK(shares.admit(ip::make_address("2001:db8::1")) == Admission::served);
  // One machine has all addresses of its network.
  http::ConnectionShares one({.all = 5, .per_peer = 1}, {.all = 0, .per_peer = 0});
  CHECK(one.admit(ip::make_address("2001:db8::1")) == Admission::served);
  CHECK(one.admit(ip::make_address("2001:db8::2")) == Admission::turned_away);
  CHECK(one.admit(ip::make_address("2001:db8:0:1::2")) == Admission::served);
}

TEST_CASE("an absolute target is routed by its path, never by its query") {
  const auto parts = [](std::string_view target) {
    const http::Target taken = http::split_target(target);
    return std::string(taken.authority) + "|" + std::string(taken.path) + "|" +
           std::string(taken.query);
  };
  CHECK(parts("/v1/orders?a=http://x/y") == "|/v1/orders|a=http://x/y");
  CHECK(parts("http://example.com?x=/v1/inventory/book-123") ==
        "example.com|/|x=/v1/inventory/book-123");
  CHECK(parts("HTTP://example.com:80/v1/orders?a=b?c") == "example.com:80|/v1/orders|a=b?c");
  CHECK(parts("https://[::1]:1") == "[::1]:1|/|");
  CHECK(parts("ftp://example.com/v1/orders") == "|ftp://example.com/v1/orders|");
  CHECK(parts("*") == "|*|");

  TestServer server;
  server.on_io([&] { server.world.stock["book-123"].sku = "book-123"; });
  Client client = server.connect();
  const auto get = [&](const std::string& target) {
    client.send("GET " + target + " HTTP/1.1\r\nHost: t\r\n\r\n");
    return client.receive().status;
  };
  CHECK(get("http://t?x=/v1/inventory/book-123") == 404);
  CHECK(get("http://t/v1/inventory/book-123") == 200);
  CHECK(get("http://t") == 404);
}

TEST_CASE("every legal way to say application/json is understood, and no other type") {
  for (const char* type :
       {"application/json", "Application/JSON", "application/json;charset=utf-8",
        "application/json; charset=utf-8;", "application/json ; charset=\"UTF-8\"",
        "application/json;", "application/json; ;charset=Utf-8",
        "application/json; profile=\"a;b\"", "application/json; charset=\"ut\\f-8\""}) {
    INFO(type);
    CHECK(http::is_json(type));
  }
  for (const char* type :
       {"", "text/json", "application/jsonp", "application/json; charset=latin1",
        "application/json charset=utf-8", "application/json; charset", "application/json; =a",
        "application/json; charset=\"utf-8", "application/json, text/plain"}) {
    INFO(type);
    CHECK_FALSE(http::is_json(type));
  }
}

TEST_CASE("problems_of_the_branch_protocol_say_the_status_they_are_sent_with") {
  TestServer coordinator;
  const auto participant = ParticipantServer::beside(coordinator, {"payment"}, "s3cret");
  const std::string bearer = "Authorization: Bearer s3cret\r\n";
  const auto check = [&](std::string_view method, const std::string& path, int status,
                         const std::string& headers, const std::string& body = "{}") {
    INFO(method << ' ' << path << ' ' << headers);
    Client client = participant->connect();
    const Response answer = client.request(method, path, body, headers);
    CHECK(answer.status == status);
    CHECK(answer.header("content-type") == "application/problem+json");
    CHECK(answer.parsed().at("status").as_int64() == status);
    CHECK(answer.parsed().as_object().contains("failure"));
  };
  const std::string path = "/participant/v1/payment/witness";
  check("POST", path, 400, bearer);
  check("POST", path, 401, "");
  check("POST", path, 403, bearer + "Origin: https://evil.example\r\n");
  check("POST", "/participant/v1/payment/conquer", 404, bearer);
  check("POST", "/participant/v1/moon/witness", 404, bearer);
  check("GET", path, 405, bearer);
  check("POST", path, 413, bearer, std::string(2'000'000, ' '));
  check("POST", path, 415, bearer + "Content-Encoding: gzip\r\n");
  check("POST", "http://evil.example" + path, 421, "");
}

TEST_CASE("a body in a coding is 415 on every port, and told what to do") {
  Ports ports;
  for (const Knocking& knocking : ports.all()) {
    INFO(knocking.name);
    const std::string type = json_type;
    const Response packed = knock(knocking, "localhost", type + "Content-Encoding: gzip\r\n");
    CHECK(packed.status == 415);
    CHECK(packed.header("accept-encoding") == "identity");
    CHECK(knock(knocking, "localhost", type + "Content-Encoding: Identity\r\n").status < 300);
  }
}
