// txcoord.example.toml is the reference of the settings: it must name all of them, with what holds
// without it.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "txcoord/base/settings.hpp"
#include "txcoord/base/settings_table.hpp"

using namespace txcoord;

namespace {

// Tests run in the source folder.
constexpr const char* example_path = "txcoord.example.toml";

std::vector<std::string> example_lines() {
  std::ifstream stream(example_path);
  REQUIRE(stream);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// "#port = 8080": a setting that is commented out. Explanations have a space after the '#'.
bool is_setting_commented_out(const std::string& line) {
  return line.size() > 1 && line[0] == '#' &&
         std::islower(static_cast<unsigned char>(line[1])) != 0;
}

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::vector<std::string>& lines)
      : path_(std::filesystem::temp_directory_path() /
              ("txcoord-example-" + std::to_string(::getpid()) + ".toml")) {
    std::ofstream stream(path_);
    std::copy(lines.begin(), lines.end(), std::ostream_iterator<std::string>(stream, "\n"));
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

TEST_CASE("the example configuration loads, and what it comments out is what holds without it") {
  std::vector<std::string> lines = example_lines();
  for (std::string& line : lines) {
    if (is_setting_commented_out(line)) line.erase(0, 1);
  }
  const TemporaryFile everything_set(lines);
  CHECK(describe(load_settings(everything_set.path(), {})) ==
        describe(load_settings(example_path, {})));
}

TEST_CASE("the example configuration names every setting once") {
  std::vector<std::string> named;
  std::string section;
  for (const std::string& line : example_lines()) {
    if (line.starts_with('[')) section = line.substr(1, line.find(']') - 1) + ".";
    const std::string text = is_setting_commented_out(line) ? line.substr(1) : line;
    if (const auto equals = text.find(" = ");
        equals != std::string::npos && !text.starts_with('#')) {
      named.push_back(section + text.substr(0, equals));
    }
  }
  Settings settings;
  std::vector<std::string> expected;
  for (const detail::SettingRow& row : detail::setting_rows(settings)) expected.push_back(row.name);
  std::sort(named.begin(), named.end());
  std::sort(expected.begin(), expected.end());
  CHECK(named == expected);
}
