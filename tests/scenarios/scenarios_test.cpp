// Runs tests/scenarios/*.txt: a group, then events, each with the actions and the state it must
// lead to. The files are the protocol's documentation as well: read them in any order.
//
//   # anything                  a comment
//   participants … operation …  the group (script.hpp has the lines)
//   > voted order yes           an event
//   < decide confirmed          an action that comes of it, in order
//   = deciding                  the state afterwards
//
// TXC_REWRITE_SCENARIOS=1 writes what really happened into the files: review the difference.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "tests/scenarios/script.hpp"

namespace txcoord::script {
namespace {

using Lines = std::vector<std::string>;

std::filesystem::path folder() {
  const char* root = std::getenv("TXCOORD_ROOT");
  return std::filesystem::path(root ? root : ".") / "tests" / "scenarios";
}

Lines lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  Lines lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// The file as it would be if everything it expects were what happens.
class Runner {
 public:
  explicit Runner(const Lines& scenario) {
    for (const std::string& line : scenario) {
      if (line.starts_with('<') || line.starts_with('=')) continue;
      if (line.starts_with('>'))
        play(line);
      else if (!line.empty() && !line.starts_with('#'))
        describe_group(line);
      if (!line.starts_with('>')) written_.push_back(line);
    }
  }

  const Lines& written() const { return written_; }
  bool done() const { return machine_ && machine_->state() == protocol::State::done; }

 private:
  void describe_group(const std::string& line) {
    if (machine_) malformed("the group is described before the first event: " + line);
    describe(plan_, line);
  }

  void play(const std::string& line) {
    if (!machine_) machine_.emplace(plan_);
    const Actions actions = machine_->step(event_of(plan_, line.substr(2)));
    written_.push_back(line);
    for (const std::string& action : texts_of(*machine_, actions))
      written_.push_back("< " + action);
    written_.push_back("= " + std::string(to_string(machine_->state())));
  }

  GroupPlan plan_;
  std::optional<TwoPhase> machine_;
  Lines written_;
};

// The first event whose outcome is another one, with both outcomes; empty if there is none.
std::string difference(const Lines& expected, const Lines& actual) {
  const auto [left, right] = std::ranges::mismatch(expected, actual);
  if (left == expected.end() && right == actual.end()) return {};
  auto from = static_cast<std::size_t>(left - expected.begin());
  while (from > 0 && !expected[from - 1].starts_with('>')) --from;
  const auto outcome = [from](const Lines& lines, char mark) {
    std::string text;
    for (std::size_t i = from;
         i < lines.size() && (lines[i].starts_with('<') || lines[i].starts_with('=')); ++i)
      text += std::string("  ") + mark + ' ' + lines[i] + '\n';
    return text;
  };
  return "line " + std::to_string(from) + ": " + (from > 0 ? expected[from - 1] : std::string()) +
         '\n' + outcome(expected, '-') + outcome(actual, '+');
}

TEST_CASE("scenarios") {
  const char* rewrite = std::getenv("TXC_REWRITE_SCENARIOS");
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder()))
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  std::ranges::sort(files);
  REQUIRE_FALSE(files.empty());
  for (const auto& path : files) {
    DYNAMIC_SECTION(path.stem().string()) {
      const Lines expected = lines_of(path);
      const Runner runner(expected);
      if (rewrite && std::string_view(rewrite) == "1") {
        std::ofstream file(path);
        for (const std::string& line : runner.written()) file << line << '\n';
      } else {
        INFO(path.string() << '\n' << difference(expected, runner.written()));
        CHECK(difference(expected, runner.written()).empty());
      }
      CHECK(runner.done());
    }
  }
}

}  // namespace
}  // namespace txcoord::script
