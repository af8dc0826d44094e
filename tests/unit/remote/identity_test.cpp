// An answer belongs to its question: what each end writes, and what does not match.
#include <catch2/catch_test_macros.hpp>
#include <string>

#include "participants/remote/identity.hpp"
#include "tests/unit/future_members.hpp"

using namespace txcoord;
using namespace txcoord::remote;

namespace {

const Identity asked{"commit", "txc_0123abcd_c1_1_89abcdef_7", "request-1"};

template <class Read>
auto read_text(const std::string& text, Read read) {
  const auto parsed = parse_our_json("a test", text);
  return read(JsonReader("a test", parsed));
}

bool repeated(const std::string& text, const Identity& identity, bool success = true) {
  std::string why;
  return read_text(
      text, [&](const JsonReader& answer) { return repeats(answer, identity, success, why); });
}

bool says_done(const std::string& text) {
  try {
    read_text(text, [](const JsonReader& reader) { return read_done(reader), true; });
    return true;
  } catch (const JsonReadError&) {
    return false;
  }
}

Identity identity_in(const std::string& body, const char* call, const char* header) {
  return read_text(body, [&](const JsonReader& reader) {
    return identity_of_request(reader, "payment", call, header);
  });
}

}  // namespace

TEST_CASE("an answer repeats the call, the gid and the request's id, and is read as such") {
  const std::string answer = answer_text(asked, R"({"votes":[]})");
  CHECK(repeated(answer, asked));
  CHECK(repeated(txcoord::testing::with_future_members(answer), asked));
  CHECK_FALSE(says_done(answer));
  CHECK(says_done(answer_text(asked, "{}")));
  CHECK(repeated(answer_text(asked, "{}"), asked));
}

TEST_CASE("an answer to another call, of another gid, or of another request, does not match") {
  const std::string answer = answer_text(asked, "{}");
  Identity other = asked;
  other.call = "rollback";
  CHECK_FALSE(repeated(answer, other));
  other = asked;
  other.gid = "txc_0123abcd_c1_1_89abcdef_8";
  CHECK_FALSE(repeated(answer, other));
  other.gid.clear();
  CHECK_FALSE(repeated(answer, other));
  other = asked;
  other.request_id = "request-2";
  CHECK_FALSE(repeated(answer, other));
  other.request_id.clear();
  CHECK_FALSE(repeated(answer, other));
  CHECK_FALSE(repeated(R"({"call":"commit","request_id":7,"gid":null})", asked));
}

TEST_CASE("a failure may leave the gid out, a success may not") {
  const std::string answer = R"({"call":"commit","request_id":"request-1"})";
  CHECK(repeated(answer, asked, false));
  CHECK_FALSE(repeated(answer, asked, true));
  CHECK_FALSE(
      repeated(R"({"call":"commit","request_id":"request-1","gid":"txc_1"})", asked, false));
}

TEST_CASE("an answer of an older participant is no answer, and says what to do") {
  std::string why;
  const auto matches = [&](const JsonReader& reader) { return repeats(reader, asked, true, why); };
  CHECK_FALSE(read_text("{}", matches));
  CHECK(why.find("Upgrade participants first") != std::string::npos);
}

TEST_CASE("done is said by `done`, and by nothing else beside it") {
  CHECK_FALSE(says_done("{}"));
  CHECK_FALSE(says_done(R"({"ok":true})"));
  CHECK_FALSE(says_done(R"({"done":false})"));
  CHECK_FALSE(says_done(R"({"done":"true"})"));
  CHECK(says_done(R"({"done":true,"of_a_newer_version":1})"));
  for (const char* other : {"votes", "replies", "gids", "present", "failure", "error", "status"})
    CHECK_FALSE(says_done(std::string(R"({"done":true,")") + other + R"(":1})"));
}

TEST_CASE("a request for another call or participant than its path says is refused") {
  const std::string body =
      request_text(asked, "payment", R"({"gid":"txc_0123abcd_c1_1_89abcdef_7"})");
  CHECK(identity_in(body, "commit", "of the header") == asked);
  CHECK_THROWS_AS(identity_in(body, "rollback", ""), JsonReadError);
  const std::string others = request_text(asked, "order", "{}");
  CHECK_THROWS_AS(identity_in(others, "commit", ""), JsonReadError);
}

TEST_CASE("an older caller's identity is that of the path and of the header") {
  const Identity found = identity_in(R"({"gid":"txc_1"})", "commit", "of the header");
  CHECK(found == Identity{"commit", "txc_1", "of the header"});
  const std::string long_id(200, 'x');
  CHECK(identity_in("{}", "commit", long_id.c_str()).request_id.empty());
}
