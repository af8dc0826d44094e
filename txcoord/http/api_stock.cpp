// Stock and wallets: reads, and changes that touch one database only.
#include "txcoord/base/json_writer.hpp"
#include "txcoord/http/gather.hpp"
#include "txcoord/http/service_api.hpp"

namespace txcoord::http {
namespace {

std::string write_stock(const StockView& stock) {
  JsonWriter out;
  out.begin_object()
      .field("sku", stock.sku)
      .field("title", stock.title)
      .field("category", stock.category)
      .field("unit_price", stock.unit_price)
      .field("available", stock.available)
      .field("reserved", stock.reserved)
      .field("low_stock_threshold", stock.low_stock_threshold)
      .end_object();
  return out.take();
}

std::string write_wallet(const WalletView& wallet, std::string_view currency) {
  JsonWriter out;
  out.begin_object()
      .field("customer_id", wallet.customer_id)
      .field("balance", wallet.balance)
      .field("currency", currency)
      .end_object();
  return out.take();
}

std::optional<std::string> text_if(const json::object& body, const char* name) {
  const json::value* value = body.if_contains(name);
  if (value == nullptr) return std::nullopt;
  return std::string(value->get_string().data(), value->get_string().size());
}

std::optional<std::int64_t> number_if(const json::object& body, const char* name) {
  const json::value* value = body.if_contains(name);
  if (value == nullptr) return std::nullopt;
  return value->get_int64();
}

// A change that the database itself refuses (a CHECK, an overflow) is the request's fault.
Reply change_failed(std::string_view service, const Failure& failure) {
  if (failure.kind == FailureKind::poison && failure.sqlstate == missing_product_sqlstate) {
    return problem_reply(validation_problem(
        400, "there is no such product, and none was made: to make it, say how many are available",
        {{"available", "is required for a product that does not exist yet"}}));
  }
  if (failure.kind == FailureKind::poison) {
    return problem_reply(validation_problem(422, "the values are not ones that can be stored"));
  }
  return problem_reply(participant_unavailable(service, failure));
}

}  // namespace

asio::awaitable<Reply> ServiceApi::get_stock(Call& call) {
  auto reading = within(io_, read_wait(), d_.inventory->stock(call.id));
  const auto stock = co_await std::move(reading);
  if (!stock) co_return problem_reply(participant_unavailable("inventory", stock.failure()));
  if (!stock.value()) co_return problem_reply(not_found("there is no such product"));
  co_return json_reply(write_stock(*stock.value()));
}

asio::awaitable<Reply> ServiceApi::put_stock(Call& call) {
  const json::object& body = call.body->get_object();
  StockChange change;
  change.title = text_if(body, "title");
  change.category = text_if(body, "category");
  change.unit_price = number_if(body, "unit_price");
  change.available = number_if(body, "available");
  change.low_stock_threshold = number_if(body, "low_stock_threshold");
  auto writing = within(io_, read_wait(), d_.inventory->put_stock(call.id, std::move(change)));
  const auto stock = co_await std::move(writing);
  if (!stock) co_return change_failed("inventory", stock.failure());
  co_return json_reply(write_stock(stock.value()), stock.value().made ? 201 : 200);
}

asio::awaitable<Reply> ServiceApi::list_stock(Call& call) {
  const PageOrProblem wanted = read_page(call, /*ids_are_uuids=*/false);
  if (wanted.problem) co_return problem_reply(*wanted.problem);
  auto reading = within(io_, read_wait(), d_.inventory->stocks(wanted.page));
  const auto stocks = co_await std::move(reading);
  if (!stocks) co_return problem_reply(participant_unavailable("inventory", stocks.failure()));
  JsonWriter out;
  out.begin_object().key("inventory").begin_array();
  for (const StockView& stock : stocks.value()) out.raw(write_stock(stock));
  out.end_array();
  if (stocks.value().size() == wanted.page.limit)
    out.field("next_cursor", make_cursor(stocks.value().back().sku));
  out.end_object();
  co_return json_reply(out.take());
}

// I5: the key lives in the inventory database, in the transaction that adds the stock.
asio::awaitable<Reply> ServiceApi::restock(Call& call) {
  const std::int64_t quantity = call.body->get_object().at("quantity").get_int64();
  RequestKey key{scope_of(*call.route), call.key, fingerprint_of(call, std::to_string(quantity))};
  auto writing = within(io_, read_wait(), d_.inventory->restock(call.id, quantity, std::move(key)));
  const auto reply = co_await std::move(writing);
  if (!reply) co_return change_failed("inventory", reply.failure());
  switch (reply.value().status) {
    case KeyedStatus::done: co_return json_reply(write_stock(reply.value().stock));
    case KeyedStatus::replayed: {
      Reply replay = json_reply(write_stock(reply.value().stock));
      replay.headers.emplace_back("Idempotency-Replayed", "true");
      co_return replay;
    }
    case KeyedStatus::key_reused:
      co_return problem_reply({.status = 422,
                               .reason = "KEY_REUSED",
                               .detail = "this Idempotency-Key came with another request before"});
    case KeyedStatus::not_found: break;
  }
  co_return problem_reply(not_found("there is no such product"));
}

asio::awaitable<Reply> ServiceApi::get_wallet(Call& call) {
  auto reading = within(io_, read_wait(), d_.payments->wallet(call.id));
  const auto wallet = co_await std::move(reading);
  if (!wallet) co_return problem_reply(participant_unavailable("payment", wallet.failure()));
  if (!wallet.value()) co_return problem_reply(not_found("there is no such customer"));
  co_return json_reply(write_wallet(*wallet.value(), d_.settings.currency));
}

asio::awaitable<Reply> ServiceApi::put_wallet(Call& call) {
  const Money balance = call.body->get_object().at("balance").get_int64();
  auto writing = within(io_, read_wait(), d_.payments->put_wallet(call.id, balance));
  const auto wallet = co_await std::move(writing);
  if (!wallet) co_return change_failed("payment", wallet.failure());
  co_return json_reply(write_wallet(wallet.value(), d_.settings.currency),
                       wallet.value().made ? 201 : 200);
}

}  // namespace txcoord::http
