// Vectors as parameters: what a server reads out of the arrays that they become.
#include <cstdint>
#include <limits>
#include <optional>

#include "pg_support.hpp"

namespace {

using namespace txcoord;
using namespace txcoord::test;

constexpr pg::Statement text_elements{"test_text_elements",
                                      "SELECT e FROM unnest($1::text[]) WITH ORDINALITY "
                                      "AS a (e, n) ORDER BY n"};
constexpr pg::Statement number_elements{"test_number_elements",
                                        "SELECT e FROM unnest($1::bigint[]) WITH ORDINALITY "
                                        "AS a (e, n) ORDER BY n"};
constexpr pg::Statement flag_elements{"test_flag_elements",
                                      "SELECT e FROM unnest($1::boolean[]) WITH ORDINALITY "
                                      "AS a (e, n) ORDER BY n"};

template <class Value>
std::vector<Value> sent_and_read(const pg::Statement& statement, std::vector<Value> values) {
  const auto session = connect(server_dsn("LOG"));
  std::vector<Value> read;
  for (const auto& row : session->exec(statement, values))
    read.push_back(row[0].template as<Value>());
  return read;
}

TEST_CASE(
    "strings come back as they were, empty ones and all that an array's text gives a meaning") {
  const std::vector<std::string> strings{
      "",   "",   "",       "NULL", "null",       " ",           "a,b",    "{x}",
      "{}", "\"", "\"\"\"", "\\",   "\\\\\"\\\"", "tab\tline\n", "東京都", std::string(5000, '"')};
  CHECK(sent_and_read(text_elements, strings) == strings);
  // Of nothing but empty ones, in every number: libpqxx 7.8.1 writes past its buffer here.
  for (std::size_t count = 0; count < 70; ++count) {
    const std::vector<std::string> empty(count);
    CHECK(sent_and_read(text_elements, empty) == empty);
  }
}

TEST_CASE("numbers and flags come back as they were, the widest too") {
  using Wide = std::numeric_limits<std::int64_t>;
  const std::vector<std::int64_t> numbers{Wide::min(), -1, 0, 1, Wide::max()};
  CHECK(sent_and_read(number_elements, numbers) == numbers);
  CHECK(sent_and_read(number_elements, std::vector<int>{-2, 0, 7}) == std::vector<int>{-2, 0, 7});
  CHECK(sent_and_read(number_elements, std::vector<std::int64_t>{}).empty());
  const std::vector<bool> flags{true, false, true};
  CHECK(sent_and_read(flag_elements, flags) == flags);
}

TEST_CASE("what is not there is NULL, and an empty string is not") {
  const std::vector<std::optional<std::string>> some{"", std::nullopt, "NULL"};
  CHECK(sent_and_read(text_elements, some) == some);
}

}  // namespace
