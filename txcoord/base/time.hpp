// UTC times: microseconds inside, RFC 3339 outside, PostgreSQL's timestamptz text in and out.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace txcoord {

std::chrono::sys_time<std::chrono::microseconds> now_utc();
std::string rfc3339(
    std::chrono::sys_time<std::chrono::microseconds> time);  // 2026-01-02T03:04:05.678901Z
// Accepts what rfc3339() writes, and PostgreSQL's ISO output under TimeZone=UTC.
std::optional<std::chrono::sys_time<std::chrono::microseconds>> parse_time(std::string_view text);

}  // namespace txcoord
