// Global transaction ids: what is formatted is parsed back, and nothing else is.
#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <set>

#include "txcoord/protocol/gid.hpp"

namespace txcoord::protocol {
namespace {

const Gid plain{"0123abcd", "c1", 7, "89efcdab", 4711};
constexpr std::uint64_t number_max = std::numeric_limits<std::uint64_t>::max();

// Every text that differs from `text` in one byte: replaced, left out or put in.
std::set<std::string> mutants_of(const std::string& text) {
  std::set<std::string> mutants;
  for (std::size_t at = 0; at <= text.size(); ++at) {
    if (at < text.size()) mutants.insert(text.substr(0, at) + text.substr(at + 1));
    for (int byte = 0; byte < 256; ++byte) {
      const std::string one(1, static_cast<char>(byte));
      mutants.insert(text.substr(0, at) + one + text.substr(at));
      if (at < text.size()) mutants.insert(text.substr(0, at) + one + text.substr(at + 1));
    }
  }
  mutants.erase(text);
  return mutants;
}

// Written by version 0.1. Another version that reads them otherwise, or writes them otherwise,
// cannot finish what this one left prepared: the list only grows.
TEST_CASE("gids of every version are read and written alike") {
  struct Golden {
    const char* text;
    Gid gid;
  };
  for (const Golden& golden : {
           Golden{"txc_0123abcd_c1_7_89efcdab_4711", {"0123abcd", "c1", 7, "89efcdab", 4711}},
           Golden{"txc_00000000_a_0_00000000_0", {"00000000", "a", 0, "00000000", 0}},
           Golden{"txc_ffffffff_z9z9z9z9_1_ffffffff_18446744073709551615",
                  {"ffffffff", "z9z9z9z9", 1, "ffffffff", number_max}},
           Golden{"txc_6e2ad90f_c2_4294967296_01d2518c_1000000",
                  {"6e2ad90f", "c2", 4294967296, "01d2518c", 1000000}},
       }) {
    const std::string text = golden.text;
    INFO(text);
    CHECK(parse_gid(text) == golden.gid);
    CHECK(format(golden.gid) == text);
    for (const std::string participant : {"order", "inventory", "payment", "shipping"}) {
      CHECK(parse_branch(text + "_" + participant) == BranchId{golden.gid, participant});
      CHECK(format_branch(golden.gid, participant) == text + "_" + participant);
    }
  }
}

TEST_CASE("a gid is written field by field") {
  CHECK(format(plain) == "txc_0123abcd_c1_7_89efcdab_4711");
  CHECK(format_branch(plain, "inventory") == "txc_0123abcd_c1_7_89efcdab_4711_inventory");
  CHECK(format(BranchId{plain, "order"}) == format_branch(plain, "order"));
}

TEST_CASE("a gid that is formatted is parsed back") {
  for (const std::uint64_t number :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{10}, number_max}) {
    for (const char* coordinator : {"a", "c1", "0", "zzzzzzzz"}) {
      const Gid gid{"00000000", coordinator, number, "ffffffff", number_max - number};
      CHECK(parse_gid(format(gid)) == gid);
    }
  }
}

TEST_CASE("a branch that is formatted is parsed back") {
  for (const char* participant : {"order", "inventory", "payment", "shipping", "x"}) {
    const BranchId branch{plain, participant};
    CHECK(parse_branch(format(branch)) == branch);
  }
}

TEST_CASE("a gid is no branch and a branch is no gid") {
  CHECK_FALSE(parse_branch(format(plain)));
  CHECK_FALSE(parse_gid(format_branch(plain, "order")));
}

TEST_CASE("a gid with one byte changed is refused or is another gid to the letter") {
  for (const std::string& mutant : mutants_of(format(plain))) {
    INFO(mutant);
    const auto parsed = parse_gid(mutant);
    if (!parsed) continue;
    CHECK(format(*parsed) == mutant);
    CHECK(*parsed != plain);
  }
}

TEST_CASE("a branch with one byte changed is refused or is another branch to the letter") {
  const BranchId branch{plain, "payment"};
  for (const std::string& mutant : mutants_of(format(branch))) {
    INFO(mutant);
    const auto parsed = parse_branch(mutant);
    if (!parsed) continue;
    CHECK(format(*parsed) == mutant);
    CHECK(*parsed != branch);
  }
}

TEST_CASE("what another program could have written is not ours") {
  for (const char* text : {
           "",
           "_",
           "txc",
           "txc_",
           "txc_0123abcd_c1_7_89efcdab",
           "txc_0123abcd_c1_7_89efcdab_",
           "TXC_0123abcd_c1_7_89efcdab_1",
           "xtxc_0123abcd_c1_7_89efcdab_1",
           "txc_0123ABCD_c1_7_89efcdab_1",
           "txc_0123abc_c1_7_89efcdab_1",
           "txc_0123abcde_c1_7_89efcdab_1",
           "txc_0123abcd__7_89efcdab_1",
           "txc_0123abcd_ninechars_7_89efcdab_1",
           "txc_0123abcd_C1_7_89efcdab_1",
           "txc_0123abcd_c1_07_89efcdab_1",
           "txc_0123abcd_c1_-7_89efcdab_1",
           "txc_0123abcd_c1_+7_89efcdab_1",
           "txc_0123abcd_c1_7_89efcdab_01",
           "txc_0123abcd_c1_7_89efcdab_1 ",
           "txc_0123abcd_c1_7_89efcdab_1\n",
           "txc_0123abcd_c1_0x7_89efcdab_1",
           "txc_0123abcd_c1_18446744073709551616_89efcdab_1",
           "txc_0123abcd_c1_7_89efcdab_1_order_",
           "txc_0123abcd_c1_7_89efcdab_1__order",
           "txc_0123abcd_c1_7_89efcdab_1_Order",
           "txc_0123abcd_c1_7_89efcdab_1_order2",
           "citus_0_1234_5_6",
           "txc_0123abcd_c1_7_89efcdab_1_order_x",
       }) {
    INFO(text);
    CHECK_FALSE(parse_gid(text));
    CHECK_FALSE(parse_branch(text));
  }
  CHECK_FALSE(parse_gid(std::string(format(plain)) + '\0'));
}

TEST_CASE("a branch id has at most 64 bytes") {
  // 33 bytes are fixed; 31 are left for both numbers and a coordinator's and a participant's name.
  const Gid longest{"0123abcd", "zzzzzzzz", 99'999'999, "89efcdab", 999'999'999'999'99};
  const std::string fits = format_branch(longest, "inventory");
  REQUIRE(fits.size() == branch_id_bytes_max);
  CHECK(parse_branch(fits) == BranchId{longest, "inventory"});
  CHECK_FALSE(parse_branch(fits + "x"));
}

TEST_CASE("a coordinator's name is 1 to 8 lower-case letters and digits") {
  CHECK(valid_coordinator_id("a"));
  CHECK(valid_coordinator_id("abcd1234"));
  CHECK_FALSE(valid_coordinator_id(""));
  CHECK_FALSE(valid_coordinator_id("abcd12345"));
  CHECK_FALSE(valid_coordinator_id("a_b"));
  CHECK_FALSE(valid_coordinator_id("A"));
}

TEST_CASE("installations that share a database do not see each other's branches") {
  CHECK(installation_prefix("0123abcd") == "txc_0123abcd_");
  CHECK(format(plain).starts_with(installation_prefix("0123abcd")));
  CHECK_FALSE(format(plain).starts_with(installation_prefix("0123abce")));
}

}  // namespace
}  // namespace txcoord::protocol
