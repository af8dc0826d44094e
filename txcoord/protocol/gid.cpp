#include "txcoord/protocol/gid.hpp"

#include <cassert>
#include <charconv>

namespace txcoord::protocol {
namespace {

constexpr std::string_view tag = "txc";
constexpr std::size_t hex_digits = 8;

bool lower_hex(std::string_view text) {
  if (text.size() != hex_digits) return false;
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool participant_name(std::string_view text) {
  if (text.empty()) return false;
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyz") == std::string_view::npos;
}

std::optional<std::uint64_t> plain_number(std::string_view text) {
  if (text.empty() || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Takes the text up to the next '_' (or all that is left) out of `rest`.
std::string_view take(std::string_view& rest) {
  const auto at = rest.find('_');
  const auto field = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view{} : rest.substr(at + 1);
  return field;
}

// What format() wrote and nothing else: a trailing '_' or an empty field fails in its own check.
std::optional<Gid> parse_fields(std::string_view& rest) {
  if (take(rest) != tag) return std::nullopt;
  Gid gid;
  gid.installation = take(rest);
  gid.coordinator = take(rest);
  const auto epoch = plain_number(take(rest));
  gid.incarnation = take(rest);
  const auto seq = plain_number(take(rest));
  if (!lower_hex(gid.installation) || !valid_coordinator_id(gid.coordinator)) return std::nullopt;
  if (!epoch || !lower_hex(gid.incarnation) || !seq) return std::nullopt;
  gid.epoch = *epoch;
  gid.seq = *seq;
  return gid;
}

}  // namespace

std::string format(const Gid& gid) {
  std::string text(tag);
  text.append("_").append(gid.installation).append("_").append(gid.coordinator);
  text.append("_").append(std::to_string(gid.epoch)).append("_").append(gid.incarnation);
  text.append("_").append(std::to_string(gid.seq));
  return text;
}

std::string format(const BranchId& branch) { return format_branch(branch.gid, branch.participant); }

std::string format_branch(const Gid& gid, std::string_view participant) {
  std::string text = format(gid);
  text.append("_").append(participant);
  assert(text.size() <= branch_id_bytes_max);
  return text;
}

std::optional<Gid> parse_gid(std::string_view text) {
  std::string_view rest = text;
  auto gid = parse_fields(rest);
  // Formatting again refuses everything the fields alone let through (a trailing separator).
  if (!gid || format(*gid) != text) return std::nullopt;
  return gid;
}

std::optional<BranchId> parse_branch(std::string_view text) {
  if (text.size() > branch_id_bytes_max) return std::nullopt;
  std::string_view rest = text;
  auto gid = parse_fields(rest);
  if (!gid || !participant_name(rest)) return std::nullopt;
  BranchId branch{std::move(*gid), std::string(rest)};
  if (format(branch) != text) return std::nullopt;
  return branch;
}

bool valid_coordinator_id(std::string_view text) {
  if (text.empty() || text.size() > coordinator_id_bytes_max) return false;
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == std::string_view::npos;
}

std::string installation_prefix(std::string_view installation) {
  std::string text(tag);
  return text.append("_").append(installation).append("_");
}

}  // namespace txcoord::protocol
