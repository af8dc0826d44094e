// RFC 3339 out, RFC 3339 and PostgreSQL's ISO form in.
#include <catch2/catch_test_macros.hpp>

#include "txcoord/base/time.hpp"

using namespace txcoord;

namespace {

std::string again(std::string_view text) {
  const auto time = parse_time(text);
  return time ? rfc3339(*time) : "refused";
}

}  // namespace

TEST_CASE("a time is written with microseconds and Z") {
  CHECK(rfc3339({}) == "1970-01-01T00:00:00.000000Z");
  CHECK(rfc3339(std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(-1))) ==
        "1969-12-31T23:59:59.999999Z");
}

TEST_CASE("what rfc3339 writes is read back") {
  const auto now = now_utc();
  CHECK(parse_time(rfc3339(now)) == now);
  CHECK(again("2024-02-29T12:34:56.789012Z") == "2024-02-29T12:34:56.789012Z");
}

TEST_CASE("PostgreSQL's form under UTC is read, trailing zeros dropped or not") {
  CHECK(again("2026-01-02 03:04:05+00") == "2026-01-02T03:04:05.000000Z");
  CHECK(again("2026-01-02 03:04:05.5+00") == "2026-01-02T03:04:05.500000Z");
  CHECK(again("2026-01-02 03:04:05.678901+00") == "2026-01-02T03:04:05.678901Z");
  CHECK(again("2026-01-02 03:04:05+00:00") == "2026-01-02T03:04:05.000000Z");
}

TEST_CASE("anything else is refused") {
  for (const char* wrong : {"", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05+09:00",
                            "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-02T24:00:00Z",
                            "2026-01-02T03:60:05Z", "2026-01-02T03:04:60Z", "2026-01-02T03:04:05.Z",
                            "2026-01-02T03:04:05.1234567Z", "26-01-02T03:04:05Z",
                            "2026-01-02T03:04:05ZZ", " 2026-01-02T03:04:05Z", "infinity"}) {
    INFO(wrong);
    CHECK(again(wrong) == "refused");
  }
}
