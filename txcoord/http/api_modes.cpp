// Degraded modes: switched on the admin port while a participant is away, for all coordinators at
// once.
#include "txcoord/base/json_writer.hpp"
#include "txcoord/http/api.hpp"
#include "txcoord/http/gather.hpp"

namespace txcoord::http {
namespace {

constexpr std::string_view normal = "normal";

void write_mode(JsonWriter& out, std::string_view participant, const engine::DegradedModes& modes) {
  const std::string_view mode =
      modes.spares(participant) ? engine::degraded_mode_of(participant) : normal;
  out.begin_object().field("participant", participant).field("mode", mode).end_object();
}

}  // namespace

Reply Api::list_modes() const {
  JsonWriter out;
  out.begin_object().key("modes").begin_array();
  for (const auto& known : engine::degraded_mode_names)
    write_mode(out, known.participant, d_.engine.degraded());
  out.end_array().end_object();
  return json_reply(out.take());
}

asio::awaitable<Reply> Api::put_mode(Call& call) {
  const json::string& wanted = call.body->get_object().at("mode").get_string();
  const std::string_view mode(wanted.data(), wanted.size());
  const std::string_view own = engine::degraded_mode_of(call.id);
  if (mode != normal && mode != own) {
    const std::string said = "is normal or " + std::string(own) + " for " + call.id;
    co_return problem_reply(
        validation_problem(422, "this participant has another mode", {{"mode", said}}));
  }
  // Late: it may still be set; it can be sent again.
  auto setting = within(io_, read_wait(), d_.engine.set_degraded(call.id, mode == own));
  const auto set = co_await std::move(setting);
  if (!set) co_return problem_reply(participant_unavailable("log", set.failure()));
  JsonWriter out;
  write_mode(out, call.id, d_.engine.degraded());
  co_return json_reply(out.take());
}

asio::awaitable<Reply> Api::delete_mode(Call& call) {
  auto clearing = within(io_, read_wait(), d_.engine.set_degraded(call.id, false));
  const auto cleared = co_await std::move(clearing);
  if (!cleared) co_return problem_reply(participant_unavailable("log", cleared.failure()));
  co_return Reply{.status = 204, .content_type = {}};
}

}  // namespace txcoord::http
