// Faults on demand: set and cleared on the admin port, shown by /readyz?verbose and in the metrics
// so that nobody forgets one.
#include <charconv>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/http/api.hpp"

namespace txcoord::http {
namespace {

std::string share_text(double share) {
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, share);
  return error == std::errc{} ? std::string(digits, end) : std::string("0");
}

}  // namespace

void write_fault(JsonWriter& out, const ParticipantFaults& fault) {
  out.begin_object()
      .key("failure_rate")
      .raw(share_text(fault.failure_rate))
      .field("delay_ms", static_cast<std::int64_t>(fault.delay.count()))
      .field("mode", to_string(fault.mode))
      .end_object();
}

Reply Api::put_fault(const Call& call) const {
  const json::object& body = call.body->get_object();
  ParticipantFaults fault;
  if (body.contains("failure_rate"))
    fault.failure_rate = body.at("failure_rate").to_number<double>();
  if (body.contains("delay_ms"))
    fault.delay = std::chrono::milliseconds(body.at("delay_ms").get_int64());
  if (const json::value* mode = body.if_contains("mode")) {
    const json::string& text = mode->get_string();
    // The schema's choices are the modes.
    fault.mode = parse_fault_mode({text.data(), text.size()}).value();
  }
  if (fault.mode == FaultMode::refuse && refusal_of(call.id).empty()) {
    return problem_reply(validation_problem(422, "the order service refuses no order",
                                            {{"mode", "refuse is not for order"}}));
  }
  d_.faults.at(call.id)->set(fault);
  d_.metrics.fault_active(call.id, true);
  logging::warn("a fault is set on purpose",
                {{"participant", std::string_view(call.id)},
                 {"mode", to_string(fault.mode)},
                 {"delay_ms", static_cast<std::int64_t>(fault.delay.count())}});
  JsonWriter out;
  write_fault(out, fault);
  return json_reply(out.take());
}

Reply Api::delete_fault(const Call& call) const {
  d_.faults.at(call.id)->set(std::nullopt);
  d_.metrics.fault_active(call.id, false);
  logging::info("a fault is cleared", {{"participant", std::string_view(call.id)}});
  return {.status = 204, .content_type = {}};
}

}  // namespace txcoord::http
