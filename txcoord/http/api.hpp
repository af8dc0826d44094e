// The coordinator's handlers: what each endpoint does, on top of the engine, the services and the
// log. Those that need one service alone are ServiceApi's.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/http/call.hpp"
#include "txcoord/http/dependencies.hpp"
#include "txcoord/http/order_document.hpp"
#include "txcoord/http/service_api.hpp"

namespace txcoord::http {

class Api {
 public:
  Api(const asio::any_io_executor& io, const HttpDependencies& dependencies);
  Api(const Api&) = delete;  // the services' handlers ask it what is decided
  Api& operator=(const Api&) = delete;

  asio::awaitable<Reply> handle(Call& call);

 private:
  using Answer = asio::awaitable<Reply>;

  // Orders (api_orders.cpp, api_order_reads.cpp, api_order_lists.cpp).
  Answer place_order(Call& call);
  Answer cancel_order(Call& call);
  Answer patch_shipment(Call& call);
  Answer get_order(Call& call);
  Answer list_orders(Call& call);
  // Transactions (api_transactions.cpp).
  struct KnownDecision;
  Answer list_transactions(Call& call);
  Answer get_transaction(Call& call);
  Answer resolve_transaction(Call& call);
  Answer show_decision(protocol::Gid gid);
  asio::awaitable<Result<std::vector<KnownDecision>>> know(std::vector<Decision> decisions);
  asio::awaitable<void> ask_witnesses(std::vector<KnownDecision>& list);
  static void write_known(JsonWriter& out, const KnownDecision& known);
  // The process itself (api_system.cpp, api.cpp).
  Answer immediate(Call& call);
  Reply ready(const Call& call) const;

  // Sagas (api_sagas.cpp) and faults (api_faults.cpp).
  Answer list_sagas(Call& call);
  Answer get_saga(Call& call);
  // Those that the log has lost (api_lost_sagas.cpp).
  Reply search_lost_sagas();
  Answer resolve_saga(Call& call);
  Answer get_lost_saga(const Call& call);
  asio::awaitable<std::optional<Failure>> add_lost(std::string order_id, OrderState& state);
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
  // The place in it, if that is decided.
  asio::awaitable<std::optional<DecidedPlace>> decided_place(std::string order_id);
  // Places that are decided here and not applied yet; the one that carries what `matches` looks
  // for.
  std::vector<engine::PendingOrder> unapplied_places() const;
  std::optional<engine::PendingOrder> find_pending(const PlaceFilter& matches) const;
  std::optional<DecidedPlace> find_decided(const PlaceFilter& matches) const;

  // What the log knows of the sagas on an order: adds their part to the document and its state; the
  // document of an order that has no row yet.
  asio::awaitable<std::optional<Failure>> add_sagas(std::string order_id,
                                                    std::optional<OrderDocument>& order,
                                                    OrderState& state);
  Answer list_by_correlation(std::string correlation_id, OrderFilter filter, PageRequest wanted);
  OrderDocument listed(const OrderView& row, OrderState& state) const;
  std::chrono::milliseconds read_wait() const;

  asio::any_io_executor io_;
  HttpDependencies d_;
  ServiceApi services_;
  std::string openapi_, admin_openapi_;
};

// Helpers that several handlers share.
void write_fault(JsonWriter& out, const ParticipantFaults& fault);
std::string write_lost(const LostSaga& saga);

}  // namespace txcoord::http
