// Identifiers, digests and the small text tools under them.
#include <catch2/catch_test_macros.hpp>
#include <set>
#include <thread>
#include <vector>

#include "txcoord/base/ids.hpp"
#include "txcoord/base/sha256.hpp"
#include "txcoord/base/utf8.hpp"

using namespace txcoord;

TEST_CASE("uuid_v7 is valid, of version 7, and rises within a process") {
  std::string last;
  for (int i = 0; i < 20'000; ++i) {
    const std::string id = uuid_v7();
    REQUIRE(valid_uuid(id));
    REQUIRE(id[14] == '7');
    REQUIRE(std::string_view("89ab").find(id[19]) != std::string_view::npos);
    REQUIRE(last < id);
    last = id;
  }
}

TEST_CASE("uuid_v7 never repeats between threads") {
  constexpr std::size_t each = 5000;
  std::vector<std::vector<std::string>> made(4);
  {
    std::vector<std::jthread> threads;
    for (auto& ids : made) {
      threads.emplace_back([&ids] {
        for (std::size_t i = 0; i < each; ++i) ids.push_back(uuid_v7());
      });
    }
  }
  std::set<std::string> all;
  for (const auto& ids : made) all.insert(ids.begin(), ids.end());
  CHECK(all.size() == 4 * each);
}

TEST_CASE("valid_uuid takes the canonical form only") {
  CHECK(valid_uuid("01890000-0000-7000-8000-000000000000"));
  for (const char* wrong :
       {"", "01890000000070008000000000000000", "01890000-0000-7000-8000-00000000000",
        "01890000-0000-7000-8000-0000000000000", "01890000-0000-7000-8000-00000000000g",
        "01890000-0000-7000-8000-00000000000A", "{1890000-0000-7000-8000-00000000000}",
        "01890000_0000-7000-8000-000000000000"}) {
    INFO(wrong);
    CHECK_FALSE(valid_uuid(wrong));
  }
}

TEST_CASE("random_hex has the digits asked for") {
  CHECK(random_hex(0).empty());
  CHECK(random_hex(7).size() == 7);
  CHECK(random_hex(8).find_first_not_of("0123456789abcdef") == std::string::npos);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random_hex(16));
  CHECK(seen.size() == 1000);
}

TEST_CASE("sha256 agrees with FIPS 180-4's examples") {
  CHECK(to_hex(sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(to_hex(sha256("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("UTF-8 is checked to the letter") {
  for (const char* right : {"", "abc", "é", "漢字", "😀", "\xEF\xBF\xBD", "\xF4\x8F\xBF\xBF"})
    CHECK(valid_utf8(right));
  for (const char* wrong : {"\x80", "\xC0\xAF", "\xC3", "\xE0\x80\xAF", "\xED\xA0\x80",
                            "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "a\xFF", "\xE6\xBC"}) {
    CHECK_FALSE(valid_utf8(wrong));
  }
}

TEST_CASE("words of others are made storable: no control characters, no broken UTF-8, a bound") {
  CHECK(storable_text("ok", 10) == "ok");
  CHECK(storable_text(std::string("a\0b\n\x7f", 5), 10) == "a b  ");
  CHECK(storable_text("\xc2\x85", 10) == " ");
  CHECK(storable_text("\xff\xc0\x80", 10) == "???");
  CHECK(storable_text("\xe6\x9d\xb1\xe4\xba\xac", 5) == "\xe6\x9d\xb1");  // cut between two
  CHECK(storable_text("\xe6\x9d", 10) == "??");
  CHECK(valid_utf8(storable_text("\xf0\x9f\x98\x80\xf0\x9f", 6)));
  CHECK(storable_text("long", 0).empty());
}
