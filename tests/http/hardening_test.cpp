// What a hostile or broken peer sends, byte by byte: each is refused with a problem and the
// connection ends, so that nothing after it can be taken for another request.
#include <catch2/catch_test_macros.hpp>

#include "tests/http/contract.hpp"
#include "tests/http/test_server.hpp"

using namespace txcoord;
using namespace txcoord::testing;

namespace {

const std::string live = "GET /livez HTTP/1.1\r\nHost: t\r\n\r\n";

struct Attack {
  const char* name;
  std::string bytes;
  int status = 400;
};

std::vector<Attack> attacks() {
  const std::string post =
      "POST /v1/orders HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n";
  const std::string get = "GET /livez HTTP/1.1\r\nHost: t\r\n";
  return {
      {"a coding that is not chunked", post + "Transfer-Encoding: gzip\r\n\r\n"},
      {"chunked that is not alone", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
      {"chunked named twice in one line",
       post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"},
      {"chunked in two lines",
       post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"a coding with a parameter", post + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"},
      {"a coding with a vertical tab", post + "Transfer-Encoding: \x0b"
                                              "chunked\r\n\r\n0\r\n\r\n"},
      {"an empty coding", post + "Transfer-Encoding:\r\n\r\n"},
      {"chunked under HTTP/1.0",
       "POST /v1/orders HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"chunked and a length",
       post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"a length given twice", post + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n"},
      {"two lengths in one line", post + "Content-Length: 0, 0\r\n\r\n"},
      {"a length with a sign", post + "Content-Length: +0\r\n\r\n"},
      {"a negative length", post + "Content-Length: -1\r\n\r\n"},
      {"a length that overflows", post + "Content-Length: 99999999999999999999\r\n\r\n"},
      {"a hexadecimal length", post + "Content-Length: 0x10\r\n\r\n"},
      {"a folded header", get + "X-A: 1\r\n 2\r\n\r\n"},
      {"a header folded with a tab", get + "X-A: 1\r\n\t2\r\n\r\n"},
      {"a fold in the first header", "GET /livez HTTP/1.1\r\n Host: t\r\n\r\n"},
      {"no Host", "GET /livez HTTP/1.1\r\n\r\n"},
      {"two Hosts", get + "Host: u\r\n\r\n"},
      {"two Content-Types", post + "Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n"},
      {"two Origins", get + "Origin: http://a\r\nOrigin: http://b\r\n\r\n"},
      {"two Authorizations", get + "Authorization: a\r\nAuthorization: b\r\n\r\n"},
      {"an empty Host", "GET /livez HTTP/1.1\r\nHost:\r\n\r\n"},
      {"a Host that is not one", "GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n"},
      {"a space before the colon", get + "X-A : 1\r\n\r\n"},
      {"a header without a colon", get + "X-A\r\n\r\n"},
      {"an empty header name", get + ": 1\r\n\r\n"},
      {"a bare line feed in a header", get + "X-A: 1\nX-B: 2\r\n\r\n"},
      {"a bare carriage return in a header", get + "X-A: 1\rX-B: 2\r\n\r\n"},
      {"a NUL in a header", get + std::string("X-A: a\0b\r\n\r\n", 12)},
      {"a NUL in the target", std::string("GET /li\0vez HTTP/1.1\r\nHost: t\r\n\r\n", 34)},
      {"a space in the target", "GET /li vez HTTP/1.1\r\nHost: t\r\n\r\n"},
      {"no version", "GET /livez\r\nHost: t\r\n\r\n"},
      {"a later version", "GET /livez HTTP/2.0\r\nHost: t\r\n\r\n", 505},
      {"a version in lower case", "GET /livez http/1.1\r\nHost: t\r\n\r\n"},
      {"not HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"},
      {"a chunk size that is not one", post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"},
      {"a chunk longer than it says",
       post + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"},
      {"a chunk header without end",
       post + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(20'000, 'x')},
      {"an expectation that is not known", get + "Expect: a-miracle\r\n\r\n", 417},
  };
}

}  // namespace

TEST_CASE("a request that two readers could read differently is refused and ends the connection") {
  TestServer server;
  for (const Attack& attack : attacks()) {
    DYNAMIC_SECTION(attack.name) {
      Client client = server.connect();
      client.send(attack.bytes + live);  // the smuggled request must never be answered
      const Response response = client.receive();
      CHECK(response.status == attack.status);
      check_problem(response, "VALIDATION_FAILED", false);
      CHECK(response.header("connection") == "close");
      CHECK(client.closed());
    }
  }
}

TEST_CASE("a header longer than its limit is 431") {
  TestServer server;
  const std::string start = "GET /livez HTTP/1.1\r\nHost: t\r\nX-A: ";
  SECTION("even when it all came at once") {
    Client client = server.connect();
    client.send(start + std::string(8 * 1024, 'a') + "\r\n\r\n");
    CHECK(client.receive().status == 431);
    CHECK(client.closed());
  }
  SECTION("even when it never ends") {
    Client client = server.connect();
    client.send(start + std::string(100 * 1024, 'a'));
    const Response response = client.receive();
    CHECK(response.status == 431);
    check_problem(response, "VALIDATION_FAILED", false);
    CHECK(client.closed());
  }
  SECTION("and one at the limit is served") {
    Client client = server.connect();
    client.send(start + std::string(8 * 1024 - start.size() - 4, 'a') + "\r\n\r\n");
    CHECK(client.receive().status == 200);
  }
}

TEST_CASE("a body longer than its limit is 413") {
  TestServer server;
  const std::string post =
      "POST /v1/orders HTTP/1.1\r\nHost: t\r\nIdempotency-Key: k\r\nContent-Type: "
      "application/json\r\n";
  SECTION("told by its length, before any of it is read") {
    Client client = server.connect();
    client.send(post + "Content-Length: 65537\r\n\r\n");
    CHECK(client.receive().status == 413);
    CHECK(client.closed());
  }
  SECTION("found out chunk by chunk") {
    Client client = server.connect();
    client.send(post + "Transfer-Encoding: chunked\r\n\r\n");
    const std::string chunk = "2000\r\n" + std::string(0x2000, ' ') + "\r\n";
    for (int i = 0; i < 9; ++i) client.send(chunk);
    const Response response = client.receive();
    CHECK(response.status == 413);
    check_problem(response, "VALIDATION_FAILED", false);
    CHECK(client.closed());
  }
  SECTION("and one at the limit is read") {
    Client client = server.connect();
    const std::string body = std::string(64 * 1024 - order_body().size(), ' ') + order_body();
    client.send(post + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    CHECK(client.receive().status == 201);
  }
}

TEST_CASE("a chunked body is read; its trailer adds nothing to the request") {
  TestServer server;
  Client client = server.connect();
  const std::string body = order_body();
  char size[16];
  std::snprintf(size, sizeof size, "%zx", body.size());
  client.send(
      "POST /v1/orders HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nTransfer-Encoding: "
      "Chunked\r\n\r\n" +
      std::string(size) + "\r\n" + body + "\r\n0\r\nIdempotency-Key: k\r\n\r\n");
  const Response response = client.receive();
  CHECK(response.status == 400);
  check_problem(response, "KEY_MISSING", false);
}

TEST_CASE("a peer that is slow with its header gets 408, however it dribbles") {
  TestServer server([](Settings& s) { s.http.header_read_ms_max = 100; });
  Client client = server.connect();
  client.send("GET /livez HT");
  const Response response = client.receive();
  CHECK(response.status == 408);
  check_problem(response, "VALIDATION_FAILED", false);
  CHECK(client.closed());
}

TEST_CASE("a peer that is slow with its body gets 408") {
  TestServer server([](Settings& s) { s.http.body_read_ms_max = 100; });
  Client client = server.connect();
  client.send(
      "POST /v1/orders HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
      "Content-Length: 10\r\n\r\n{");
  CHECK(client.receive().status == 408);
  CHECK(client.closed());
}

TEST_CASE("an idle connection is closed without a word") {
  TestServer server([](Settings& s) { s.http.idle_ms_max = 100; });
  Client fresh = server.connect();
  CHECK(fresh.closed());
  Client used = server.connect();
  CHECK(used.request("GET", "/livez").status == 200);
  CHECK(used.closed());
}

TEST_CASE("a peer that never reads its answers is cut") {
  TestServer server([](Settings& s) { s.http.write_ms_max = 100; });
  Client client = server.connect();
  // More answers than the sockets' buffers hold, so that a write must wait.
  std::string many;
  for (int i = 0; i < 2000; ++i) many += "GET /openapi.json HTTP/1.1\r\nHost: t\r\n\r\n";
  client.send(many);
  while (server.on_io([&] { return server.server().connections(); }) > 0) std::this_thread::yield();
}

TEST_CASE("connections are bounded in all") {
  TestServer server([](Settings& s) { s.http.connections_max = 2; });
  Client first = server.connect();
  Client second = server.connect();
  CHECK(first.request("GET", "/livez").status == 200);
  CHECK(second.request("GET", "/livez").status == 200);
  Client third = server.connect();
  const Response response = third.receive();
  CHECK(response.status == 503);
  CHECK(response.has("retry-after"));
  CHECK(third.closed());
}

TEST_CASE("connections are bounded for each peer, and a closed one makes room") {
  TestServer server([](Settings& s) { s.http.connections_per_peer_max = 1; });
  {
    Client first = server.connect();
    CHECK(first.request("GET", "/livez").status == 200);
    Client second = server.connect();
    CHECK(second.receive().status == 503);
  }
  while (server.on_io([&] { return server.server().connections(); }) > 0) std::this_thread::yield();
  Client third = server.connect();
  CHECK(third.request("GET", "/livez").status == 200);
}

TEST_CASE("pipelined requests are answered in order") {
  TestServer server;
  Client client = server.connect();
  const std::string post =
      "PUT /v1/wallets/c1 HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: "
      "14\r\n\r\n"
      R"({"balance":70})";
  client.send(live + post + "GET /v1/wallets/c1 HTTP/1.1\r\nHost: t\r\n\r\n" +
              "HEAD /livez HTTP/1.1\r\nHost: t\r\n\r\n" + live);
  CHECK(client.receive().body == R"({"status":"live"})");
  CHECK(client.receive().status == 201);
  CHECK(client.receive().parsed().at("balance").as_int64() == 70);
  const Response head = client.receive(/*head=*/true);
  CHECK(head.status == 200);
  CHECK(head.header("content-length") == "17");
  CHECK(client.receive().body == R"({"status":"live"})");
}

TEST_CASE("a request that comes byte by byte is one request") {
  TestServer server;
  Client client = server.connect();
  for (const char byte : live) client.send({&byte, 1});
  CHECK(client.receive().status == 200);
}

TEST_CASE("keep-alive follows the version and Connection") {
  TestServer server;
  SECTION("HTTP/1.1 keeps, and close closes") {
    Client client = server.connect();
    CHECK(client.request("GET", "/livez").status == 200);
    const Response last = client.request("GET", "/livez", {}, "Connection: close\r\n");
    CHECK(last.status == 200);
    CHECK(last.header("connection") == "close");
    CHECK(client.closed());
  }
  SECTION("HTTP/1.0 closes") {
    Client client = server.connect();
    client.send("GET /livez HTTP/1.0\r\n\r\n");
    CHECK(client.receive().status == 200);
    CHECK(client.closed());
  }
  SECTION("HTTP/1.0 keeps when asked") {
    Client client = server.connect();
    client.send("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK(client.receive().header("connection") == "keep-alive");
    CHECK(client.request("GET", "/livez").status == 200);
  }
}

TEST_CASE("Expect: 100-continue is answered before the body is sent") {
  TestServer server;
  Client client = server.connect();
  client.send(
      "PUT /v1/wallets/c1 HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: "
      "14\r\n"
      "Expect: 100-continue\r\n\r\n");
  CHECK(client.receive_until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  client.send(R"({"balance":70})");
  CHECK(client.receive().status == 201);
}

TEST_CASE("a refusal is sent in place of 100 Continue") {
  TestServer server;
  Client client = server.connect();
  client.send(
      "PUT /v1/wallets/c1 HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\nExpect: "
      "100-continue\r\n\r\n");
  CHECK(client.receive().status == 413);
}

TEST_CASE("empty lines before a request are dropped; absolute targets are served") {
  TestServer server;
  Client client = server.connect();
  client.send("\r\n\r\n" + live);
  CHECK(client.receive().status == 200);
  client.send("GET http://t/livez?x=1 HTTP/1.1\r\nHost: t\r\n\r\n");
  CHECK(client.receive().status == 400);  // the path is found, and takes no x
}

TEST_CASE("draining lets nothing new in and closes idle connections and answers busy ones") {
  TestServer server;
  server.on_io([&] { server.engine.hold = true; });
  Client idle = server.connect();
  CHECK(idle.request("GET", "/livez").status == 200);
  Client busy = server.connect();
  const std::string body = order_body();
  busy.send(
      "POST /v1/orders HTTP/1.1\r\nHost: t\r\nIdempotency-Key: k1\r\nContent-Type: "
      "application/json\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body);
  while (server.on_io([&] { return server.engine.submitted.empty(); })) std::this_thread::yield();
  auto drained = server.spawn(server.server().drain());
  CHECK(idle.closed());
  CHECK_THROWS(server.connect());
  server.on_io([&] { server.engine.let_go(); });
  const Response last = busy.receive();
  CHECK(last.status == 201);
  CHECK(last.header("connection") == "close");
  drained.get();
  CHECK(server.on_io([&] { return server.server().connections(); }) == 0);
}

TEST_CASE("a lame duck takes new connections and answers, and each answer closes its connection") {
  TestServer server;
  auto kept = server.connect();
  CHECK(kept.request("GET", "/livez").header("connection") != "close");
  server.on_io([&] { server.server().close_after_answers(); });
  const auto last = kept.request("GET", "/livez");
  CHECK(last.status == 200);
  CHECK(last.header("connection") == "close");
  CHECK(kept.closed());
  auto late = server.connect();
  const auto only = late.request("GET", "/livez");
  CHECK(only.status == 200);
  CHECK(only.header("connection") == "close");
  CHECK(late.closed());
}

TEST_CASE("draining ends at its deadline, whatever a handler waits for") {
  TestServer server([](Settings& s) { s.http.drain_ms_max = 50; });
  server.on_io([&] { server.engine.hold = true; });
  Client busy = server.connect();
  const std::string body = order_body();
  busy.send(
      "POST /v1/orders HTTP/1.1\r\nHost: t\r\nIdempotency-Key: k1\r\nContent-Type: "
      "application/json\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body);
  while (server.on_io([&] { return server.engine.submitted.empty(); })) std::this_thread::yield();
  server.spawn(server.server().drain()).get();
  CHECK(busy.closed());
}

TEST_CASE("a port that is taken is told by its setting") {
  TestServer server;
  CHECK_THROWS_AS(TestServer([&](Settings& s) { s.http.port = server.port(); }), SettingsError);
}
