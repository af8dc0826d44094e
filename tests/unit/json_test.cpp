// The JSON writer and the log line's escaping.
#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>

#include "txcoord/base/json_writer.hpp"

using namespace txcoord;

namespace {

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

}  // namespace

TEST_CASE("JSON is written compactly, commas where they are due") {
  JsonWriter out;
  out.begin_object()
      .field("a", 1)
      .field("b", "x")
      .field("c", true)
      .key("d")
      .begin_array()
      .value(1)
      .value(2);
  out.begin_object().end_object().begin_array().end_array().raw("null").end_array();
  out.field_if("left_out", "").field_if("kept", "k").field_set("none", std::nullopt).end_object();
  CHECK(out.text() == R"({"a":1,"b":"x","c":true,"d":[1,2,{},[],null],"kept":"k"})");
}

TEST_CASE("64 bits are written in full") {
  JsonWriter out;
  out.begin_array().value(std::int64_t{INT64_MIN}).value(std::int64_t{INT64_MAX}).end_array();
  CHECK(out.text() == "[-9223372036854775808,9223372036854775807]");
}

TEST_CASE("strings that end like brackets and colons do not confuse the commas") {
  JsonWriter out;
  out.begin_object().field("a", "{").field("b", "[").field("c:", ":").end_object();
  CHECK(out.text() == R"({"a":"{","b":"[","c:":":"})");
}

TEST_CASE("every text becomes a JSON string that reads back as itself") {
  for (const std::string& text :
       {std::string("plain"), std::string("\"\\/\b\f\n\r\t"), std::string("a\0b", 3),
        std::string("漢字 é 😀"), std::string("\x01\x1f\x7f"), std::string("</script>")}) {
    const auto value = boost::json::parse(json_string(text));
    CHECK(std::string(value.as_string().data(), value.as_string().size()) == text);
  }
}

TEST_CASE("bytes that are not UTF-8 become U+FFFD") {
  CHECK(json_string("a\xff"
                    "b") ==
        "\"a\xEF\xBF\xBD"
        "b\"");
  CHECK_NOTHROW(boost::json::parse(json_string("\xE6\xBC")));
  CHECK_NOTHROW(boost::json::parse(json_string("\xED\xA0\x80")));
}
