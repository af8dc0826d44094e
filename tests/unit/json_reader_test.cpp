// What JsonReader says of JSON that is not as it should be: the path of what is at fault, never a
// value.
#include <catch2/catch_test_macros.hpp>
#include <string>

#include "txcoord/base/json_reader.hpp"

using namespace txcoord;

namespace {

// The words of the error that `read` ends with.
template <class Read>
std::string error_of(const std::string& text, Read read) {
  try {
    const auto parsed = parse_our_json("a test", text);
    read(JsonReader("a test", parsed));
  } catch (const JsonReadError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("what is at fault is named by its path from the top, among others just like it") {
  const std::string text = R"({"a":{"n":1,"list":[{"n":1},{"n":"secret","in":{"n":1}},{"n":1}]},
                               "b":{"n":1,"list":[{"n":1},{"n":1},7]}})";
  const auto error = [&](auto read) { return error_of(text, read); };
  CHECK(error([](const JsonReader& top) { top.text("c"); }) == "a test: c is missing");
  CHECK(error([](const JsonReader& top) { top.text("a"); }) == "a test: a is no text");
  CHECK(error([](const JsonReader& top) { top.object("b").text("n"); }) ==
        "a test: b.n is no text");
  CHECK(error([](const JsonReader& top) { top.object("a").objects("list").at(1).integer("n"); }) ==
        "a test: a.list[1].n is no 64-bit integer");
  CHECK(error([](const JsonReader& top) {
          top.object("a").objects("list").at(1).object("in").flag("n");
        }) == "a test: a.list[1].in.n is no boolean");
  CHECK(error([](const JsonReader& top) { top.object("a").object("list"); }) ==
        "a test: a.list is no object");
  CHECK(error([](const JsonReader& top) { top.object("b").objects("list"); }) ==
        "a test: b.list[2] is no object");
  CHECK(error([](const JsonReader& top) { top.object("b").objects("n"); }) ==
        "a test: b.n is no array");
  CHECK(error([](const JsonReader& top) { top.object("b").texts("list"); }) ==
        "a test: b.list holds what is no text");
  CHECK(error([](const JsonReader& top) { top.object("a").integer("n"); }) == "no error");
}

TEST_CASE("a text that is no JSON, or no object, is told as such") {
  const auto nothing = [](const JsonReader&) {};
  CHECK(error_of("{", nothing) == "a test: it is no JSON");
  CHECK(error_of("[]", nothing) == "a test: it is no object");
  CHECK(error_of("{} {}", nothing) == "a test: it is no JSON");
  CHECK(error_of("{} \n", nothing) == "no error");
  CHECK(error_of(std::string(40, '['), nothing) == "a test: it is no JSON");
}

TEST_CASE("a member that is named twice is refused, at any depth: two readers could differ") {
  const auto nothing = [](const JsonReader&) {};
  const std::string twice = "a test: it names a member twice";
  CHECK(error_of(R"({"a":1,"a":1})", nothing) == twice);
  CHECK(error_of(R"({"a":[{"b":{"c":1,"d":2,"c":3}}]})", nothing) == twice);
  CHECK(error_of(R"({"a":1,"\u0061":2})", nothing) == twice);
  CHECK(error_of(R"({"a":{"a":1},"b":[{"a":1},{"a":1}]})", nothing) == "no error");
}
