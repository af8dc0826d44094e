// The JSON of list-steps: see branch_json.hpp.
#include <cmath>

#include "participants/remote/branch_json.hpp"

namespace txcoord::remote {

void write_barriers_query(JsonWriter& out, const BarriersQuery& query) {
  out.field("installation", query.installation);
  write_texts(out, "saga_ids", query.saga_ids);
  out.field("after", query.after).field("limit", query.limit);
}

BarriersQuery read_barriers_query(const JsonReader& reader) {
  const std::int64_t limit = reader.integer("limit");
  if (limit < 0) reader.refuse("limit", "is negative");
  return {reader.text("installation"), reader.texts("saga_ids"), reader.text_or_empty("after"),
          static_cast<std::size_t>(limit)};
}

void write_barriers(JsonWriter& out, const BarriersPage& page) {
  out.key("sagas").begin_array();
  for (const SagaBarriers& saga : page.sagas) {
    out.begin_object()
        .field("saga_id", saga.saga_id)
        .field_if("order_id", saga.order_id)
        .field("age_ms", std::llround(1000 * saga.age_seconds));
    out.key("steps").begin_array();
    for (const auto& [step, outcome] : saga.steps)
      out.begin_object().field("step", step).field("outcome", outcome).end_object();
    out.end_array().end_object();
  }
  out.end_array();
  out.field("shared", page.shared);
}

BarriersPage read_barriers(const JsonReader& reader) {
  BarriersPage page;
  const auto sagas = reader.objects("sagas");
  page.sagas.reserve(sagas.size());
  for (const JsonReader& one : sagas) {
    SagaBarriers saga;
    saga.saga_id = one.text("saga_id");
    saga.order_id = one.text_or_empty("order_id");
    saga.age_seconds = static_cast<double>(one.integer("age_ms")) / 1000;
    for (const JsonReader& step : one.objects("steps"))
      saga.steps[step.text("step")] = step.text("outcome");
    page.sagas.push_back(std::move(saga));
  }
  page.shared = reader.flag("shared");
  return page;
}

}  // namespace txcoord::remote
