// Global transaction ids: one formatter and one parser.
//
//   txc_<installation>_<coordinator>_<epoch>_<incarnation>_<seq>[_<participant>]
//
// installation and incarnation: 8 lower-case hex digits; coordinator: 1 to 8 of [a-z0-9];
// epoch and seq: decimal, without leading zeros. A branch id is at most 64 bytes (PostgreSQL
// allows 199, DTM tables elsewhere 64), so the longest participant name is 9 letters.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace txcoord::protocol {

inline constexpr std::size_t branch_id_bytes_max = 64;
inline constexpr std::size_t coordinator_id_bytes_max = 8;

struct Gid {
  std::string installation;
  std::string coordinator;
  std::uint64_t epoch = 0;
  std::string incarnation;
  std::uint64_t seq = 0;

  auto operator<=>(const Gid&) const = default;
};

struct BranchId {
  Gid gid;
  std::string participant;

  auto operator<=>(const BranchId&) const = default;
};

std::string format(const Gid& gid);
// Precondition: the result fits branch_id_bytes_max (asserted).
std::string format(const BranchId& branch);
std::string format_branch(const Gid& gid, std::string_view participant);

// nullopt for anything that format() would not have written, to the letter.
std::optional<Gid> parse_gid(std::string_view text);
std::optional<BranchId> parse_branch(std::string_view text);

bool valid_coordinator_id(std::string_view text);

// `txc_<installation>_`: the prefix that every branch of an installation has.
std::string installation_prefix(std::string_view installation);

}  // namespace txcoord::protocol
