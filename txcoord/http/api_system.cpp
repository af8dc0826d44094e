// Whether this process is ready.
#include "txcoord/base/json_writer.hpp"
#include "txcoord/http/api.hpp"

namespace txcoord::http {
Reply Api::ready(const Call& call) const {
  const bool is_ready = d_.engine.ready() && !d_.engine.draining();
  JsonWriter out;
  out.begin_object().field("status",
                           is_ready ? "ready" : (d_.engine.draining() ? "draining" : "not_ready"));
  if (call.query_says("verbose")) {
    const engine::DegradedModes modes = d_.engine.degraded();
    out.key("participants").begin_array();
    for (const auto& [name, health] : d_.engine.health()) {
      out.begin_object()
          .field("name", name)
          .field("reachable", health.reachable)
          .field("writable", health.writable)
          .field("recovered", health.recovered);
      if (health.in_doubt_branches) {
        out.field("in_doubt_branches", *health.in_doubt_branches)
            .field("in_doubt_oldest_seconds",
                   static_cast<std::int64_t>(health.in_doubt_oldest_seconds));
      }
      if (health.slots_full) out.field("prepared_slots", "full");
      out.field_if("last_error", health.last_error);
      const auto fault = d_.faults.find(name);
      if (fault != d_.faults.end() && fault->second->faults()) {
        out.key("fault");
        write_fault(out, *fault->second->faults());
      }
      const auto breaker = d_.breakers.find(name);
      if (breaker != d_.breakers.end()) out.field("breaker", breaker->second());
      if (modes.spares(name)) out.field("mode", engine::degraded_mode_of(name));
      out.end_object();
    }
    out.end_array();
  }
  out.end_object();
  return readiness_reply(out.take(), is_ready);
}

}  // namespace txcoord::http
