// The order service's own rows, for a reader of that service alone: no payment, no shipment, and
// nothing laid over them. The order itself is the coordinator's to tell (api_order_reads.cpp).
#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/http/gather.hpp"
#include "txcoord/http/service_api.hpp"

namespace txcoord::http {
namespace {

void write(JsonWriter& out, const OrderView& row, std::string_view currency) {
  out.begin_object()
      .field("order_id", row.order_id)
      .field("customer_id", row.customer_id)
      .field("status", row.status)
      .field("mode", row.mode)
      .field_if("reason", row.reason)
      .field("total_amount", row.total_amount)
      .field("currency", currency);
  out.key("items").begin_array();
  for (const OrderItem& item : row.items) {
    out.begin_object()
        .field("sku", item.sku)
        .field("quantity", item.quantity)
        .field("unit_price", item.unit_price)
        .end_object();
  }
  out.end_array()
      .field("created_at", rfc3339(row.created_at))
      .field("updated_at", rfc3339(row.updated_at))
      .field_if("correlation_id", row.correlation_id)
      .field_if("transaction_id", row.transaction_id)
      .end_object();
}

}  // namespace

asio::awaitable<Reply> ServiceApi::get_order_row(Call& call) {
  call.order_id = call.id;
  auto reading = within(io_, read_wait(), d_.orders->order(call.id));
  const auto row = co_await std::move(reading);
  if (!row) co_return problem_reply(participant_unavailable("order", row.failure()));
  if (!row.value()) co_return problem_reply(not_found("the order service has no such order"));
  JsonWriter out;
  write(out, *row.value(), d_.settings.currency);
  co_return json_reply(out.take());
}

asio::awaitable<Reply> ServiceApi::list_order_rows(Call& call) {
  const PageOrProblem wanted = read_page(call, /*ids_are_uuids=*/true);
  if (wanted.problem) co_return problem_reply(*wanted.problem);
  OrderFilter filter{call.query_value("customer_id"), call.query_value("status")};
  auto reading = within(io_, read_wait(), d_.orders->orders(std::move(filter), wanted.page));
  const auto rows = co_await std::move(reading);
  if (!rows) co_return problem_reply(participant_unavailable("order", rows.failure()));
  JsonWriter out;
  out.begin_object().key("order_rows").begin_array();
  for (const OrderView& row : rows.value()) write(out, row, d_.settings.currency);
  out.end_array();
  if (rows.value().size() == wanted.page.limit)
    out.field("next_cursor", make_cursor(rows.value().back().order_id));
  out.end_object();
  co_return json_reply(out.take());
}

}  // namespace txcoord::http
