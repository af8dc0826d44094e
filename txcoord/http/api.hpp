// The handlers: what each endpoint does, on top of the engine, the services and the log. A handler
// gets a call whose parameters and body already keep to their schemas.
#pragma once

#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/json/value.hpp>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/http/dependencies.hpp"
#include "txcoord/http/headers.hpp"
#include "txcoord/http/message.hpp"
#include "txcoord/http/order_document.hpp"
#include "txcoord/http/routes.hpp"

namespace txcoord::http {

struct Call {
  const Route* route = nullptr;
  std::string id;  // the path's {parameter}
  std::vector<std::pair<std::string, std::string>> query;
  std::optional<json::value> body;  // set where the route has a request schema
  std::string key;                  // Idempotency-Key, where the route requires one
  Preferences prefer;
  std::string correlation_id, traceparent;
  std::string order_id, transaction_id;  // set by handlers, for the log line

  // Empty: not given.
  std::string query_value(std::string_view name) const;
};

class Api {
 public:
  Api(asio::any_io_executor io, HttpDependencies dependencies);

  asio::awaitable<Reply> handle(Call& call);

 private:
  using Answer = asio::awaitable<Reply>;

  // Orders (api_orders.cpp, api_order_reads.cpp).
  Answer place_order(Call& call);
  Answer cancel_order(Call& call);
  Answer patch_shipment(Call& call);
  Answer get_order(Call& call);
  Answer list_orders(Call& call);
  // Stock and wallets (api_stock.cpp).
  Answer get_stock(Call& call);
  Answer put_stock(Call& call);
  Answer list_stock(Call& call);
  Answer restock(Call& call);
  Answer get_wallet(Call& call);
  Answer put_wallet(Call& call);
  // Histories (api_histories.cpp).
  Answer list_reservations(Call& call);
  Answer get_reservation(Call& call);
  Answer list_payments(Call& call);
  Answer get_payment(Call& call);
  Answer list_shipments(Call& call);
  Answer get_shipment(Call& call);
  // Transactions and the process itself (api_system.cpp, api.cpp).
  Answer list_transactions(Call& call);
  Answer get_transaction(Call& call);
  Answer immediate(Call& call);
  Reply ready(const Call& call) const;

  // Sagas (api_sagas.cpp) and faults (api_faults.cpp).
  Answer list_sagas(Call& call);
  Answer get_saga(Call& call);
  Reply put_fault(const Call& call) const;
  Reply delete_fault(const Call& call) const;
  // Degraded modes (api_modes.cpp).
  Reply list_modes() const;
  Answer put_mode(Call& call);
  Answer delete_mode(Call& call);

  // Submits and waits as the client prefers; with respond-async until it is accepted durably.
  Answer submit(Call& call, std::shared_ptr<const Operation> operation, engine::Protocol protocol);
  Answer reply_to(Call& call, const Operation& operation, const engine::SubmitResult& result);
  Answer reply_stored(Call& call, const StoredOutcome& stored, bool applied);
  Reply reply_accepted(Call& call, const Operation& operation,
                       const engine::SubmitResult& result) const;
  Reply pending_reply(Call& call, const Operation& operation, std::string_view reason,
                      const std::string& transaction_id) const;
  std::shared_ptr<Operation> new_operation(const Call& call, OperationKind kind,
                                           std::string order_id, std::string_view canonical) const;

  // What is decided on an order and not applied yet; nothing: what the services say is all there
  // is.
  asio::awaitable<Result<Overlay>> overlay(std::string order_id);
  // The same, but without a place that is not decided yet.
  asio::awaitable<Result<Overlay>> decided_place(std::string order_id);
  // Places that are decided here and not applied yet; the one that carries what `matches` looks
  // for.
  std::vector<engine::PendingOrder> unapplied_places() const;
  using PlaceFilter = std::function<bool(const PlaceOrder&)>;
  std::optional<engine::PendingOrder> find_pending(const PlaceFilter& matches) const;

  // What the log knows of the sagas on an order: adds their part to the document and its state; the
  // document of an order that has no row yet.
  asio::awaitable<std::optional<Failure>> add_sagas(std::string order_id,
                                                    std::optional<OrderDocument>& order,
                                                    OrderState& state);
  Answer list_by_correlation(std::string correlation_id);
  std::chrono::milliseconds read_wait() const;

  asio::any_io_executor io_;
  HttpDependencies d_;
  std::string openapi_;
};

// Helpers that several handlers share.
void write_fault(JsonWriter& out, const ParticipantFaults& fault);
Reply json_reply(std::string body, int status = 200);
// The page parameters; `after` is decoded from the cursor. A cursor that is not ours is a problem.
struct PageOrProblem {
  PageRequest page;
  std::optional<Problem> problem;
};
PageOrProblem read_page(const Call& call, bool ids_are_uuids);
std::string make_cursor(std::string_view last_id);
std::array<std::uint8_t, 32> fingerprint_of(const Call& call, std::string_view canonical);
std::string scope_of(const Route& route);

}  // namespace txcoord::http
