// Runs tests/scenarios/*.txt: a group or a saga, then events, each with the actions and the state
// it must lead to. The files are the protocol's documentation as well: read them in any order.
//
//   # anything                  a comment
//   participants … operation …  the group (script.hpp has the lines)
//   plan place_order            in saga_*.txt: the saga (saga_script.hpp)
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

#include "tests/scenarios/saga_script.hpp"
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

class GroupTrace {
 public:
  void describe(const std::string& line) {
    if (machine_) malformed("the group is described before the first event: " + line);
    script::describe(plan_, line);
  }
  Lines play(const std::string& event) {
    if (!machine_) machine_.emplace(plan_);
    const Actions actions = machine_->step(event_of(plan_, event));
    return texts_of(*machine_, actions);
  }
  std::string state() const { return std::string(to_string(machine_->state())); }
  bool done() const { return machine_ && machine_->state() == protocol::State::done; }

 private:
  GroupPlan plan_;
  std::optional<TwoPhase> machine_;
};

struct Replay {
  Lines written;  // the file as it would be if everything it expects were what happens
  bool done = false;
};

template <class Trace>
Replay replay(const Lines& scenario) {
  Trace trace;
  Replay replay;
  for (const std::string& line : scenario) {
    if (line.starts_with('<') || line.starts_with('=')) continue;
    replay.written.push_back(line);
    if (line.starts_with('>')) {
      for (const std::string& action : trace.play(line.substr(2)))
        replay.written.push_back("< " + action);
      replay.written.push_back("= " + trace.state());
    } else if (!line.empty() && !line.starts_with('#')) {
      trace.describe(line);
    }
  }
  replay.done = trace.done();
  return replay;
}

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
      const bool saga = path.stem().string().starts_with("saga_");
      const Replay actual = saga ? replay<SagaTrace>(expected) : replay<GroupTrace>(expected);
      if (rewrite && std::string_view(rewrite) == "1") {
        std::ofstream file(path);
        for (const std::string& line : actual.written) file << line << '\n';
      } else {
        INFO(path.string() << '\n' << difference(expected, actual.written));
        CHECK(difference(expected, actual.written).empty());
      }
      CHECK(actual.done);
    }
  }
}

}  // namespace
}  // namespace txcoord::script
