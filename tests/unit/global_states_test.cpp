// What card settlement is told of global transactions: what may still be decided is active, so that
// no authorisation is let go that a branch is about to use.
#include "tests/unit/coordinator_rig.hpp"

namespace txcoord::testing {
namespace {

asio::awaitable<void> ask(Coordinator& coordinator, std::vector<protocol::Gid> gids,
                          std::optional<GlobalState>& state) {
  auto asking = coordinator.global_states(std::move(gids));
  const auto states = co_await std::move(asking);
  if (states) state = states.value().at(0);
}

GlobalState state_of(Rig& rig, const protocol::Gid& gid) {
  std::optional<GlobalState> state;
  asio::co_spawn(rig.context, ask(rig.coordinator, {gid}, state), asio::detached);
  REQUIRE(rig.run_until([&] { return state.has_value(); }));
  return *state;
}

protocol::Gid gid_under_way(Rig& rig) {
  REQUIRE(rig.run_until([&] { return !rig.coordinator.active().empty(); }));
  return protocol::parse_gid(rig.coordinator.active().at(0).gid).value();
}

TEST_CASE(
    "global states: a group of our own is active until it is decided, whatever the log says") {
  Rig rig;
  for (const char* const call : {"payment.vote", "payment.prepare", "log.decide"}) {
    INFO(call);
    rig.script.trace.clear();
    rig.script.hold(call);
    const auto result = rig.start(rig.operation(call));
    REQUIRE(rig.run_until([&] { return count(rig.script.trace, call) == 1; }));
    const protocol::Gid gid = gid_under_way(rig);
    CHECK(state_of(rig, gid) == GlobalState::active);
    rig.script.let_go(call);
    REQUIRE(rig.run_until([&] { return result->has_value() && rig.idle(); }));
    CHECK(state_of(rig, gid) == GlobalState::committed);
  }
}

TEST_CASE("global states: our own that nobody works on has ended; another's may go on") {
  Rig rig;
  rig.script.hold("log.decide");
  const auto result = rig.start(rig.operation("a"));
  protocol::Gid gid = gid_under_way(rig);
  rig.script.let_go("log.decide");
  REQUIRE(rig.run_until([&] { return result->has_value() && rig.idle(); }));
  gid.seq += 1000;  // never seen, or trimmed
  CHECK(state_of(rig, gid) == GlobalState::aborted);
  gid.coordinator = "somebody";
  CHECK(state_of(rig, gid) == GlobalState::active);
}

}  // namespace
}  // namespace txcoord::testing
