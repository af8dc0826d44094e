// Sagas that the log has lost, since it was restored or failed over, and that the participants'
// databases still tell of: found, shown, and on a person's request compensated or completed.
//
// Looked for once after every start (a log is restored while nobody runs), whenever recovery finds
// that the log went back, and when somebody asks. What was read in which order, and why that is
// proof: protocol/lost_saga.hpp. Nothing is done to a lost saga by itself: who took the money, and
// what its client was told, stood in the log alone.
//
// Where another installation works on the same database nothing is looked for: barriers do not say
// whose they are.
// Single-threaded. Bounds: a page of each participant at a time; one saga looked at at a time.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "participants/participant.hpp"
#include "participants/services.hpp"
#include "txcoord/base/settings.hpp"
#include "txcoord/engine/recovery.hpp"
#include "txcoord/engine/ticker.hpp"
#include "txcoord/log/lost_saga_log.hpp"
#include "txcoord/metrics/metrics.hpp"
#include "txcoord/protocol/lost_saga.hpp"

namespace txcoord::engine {

enum class LostAction : std::uint8_t { compensate, complete };
std::string_view to_string(LostAction action);

enum class LostResolve : std::uint8_t {
  begun,       // the saga stands in the log again, and is run
  replayed,    // this was asked for before
  not_found,   // no lost saga has this id
  impossible,  // not this action, or not any more: `detail` says why
  key_reused,  // the key asked for the other action
  failed,      // `failure`; may be sent again under the same key
};
struct LostResolution {
  LostResolve outcome = LostResolve::failed;
  std::string detail;
  std::optional<LostSaga> saga;
  std::optional<Failure> failure;
};

// What the REST layer asks of it.
class LostSagaDesk {
 public:
  virtual ~LostSagaDesk() = default;
  // Not resolved, as last counted.
  virtual std::size_t known() const = 0;
  // Looks for lost sagas, soon.
  virtual void search() = 0;
  virtual asio::awaitable<LostResolution> resolve(std::string saga_id, LostAction action,
                                                  std::string key) = 0;
};

struct LostServices {
  OrderService& orders;
  InventoryService& inventory;
  PaymentService& payments;
  ShippingService& shipping;
};

class LostSagas final : public LostSagaDesk {
 public:
  // `identity` says who this coordinator is; the epoch is 0 while it is not ready to look.
  LostSagas(const asio::any_io_executor& io, const Settings& settings,
            std::vector<Participant*> participants, LostServices services, LostSagaLog& log,
            Metrics& metrics, std::function<RecoveryIdentity()> identity);

  asio::awaitable<void> run();  // until stop()
  void stop() { ticker_.stop(); }

  std::size_t known() const override { return known_; }
  void search() override;
  asio::awaitable<LostResolution> resolve(std::string saga_id, LostAction action,
                                          std::string key) override;

  // Of these orders, those whose saga the log has lost and whose payment is taken, or cannot be
  // read: no expiry may free their stock.
  asio::awaitable<Result<std::vector<std::string>>> paid_and_lost(
      std::vector<std::string> order_ids);

 private:
  // What all participants say of one saga.
  struct Found {
    std::string order_id;
    protocol::LostBarriers barriers;
    double age_seconds = 0;  // of the youngest barrier
  };
  using FoundSagas = std::map<std::string, Found>;
  struct Rows {
    std::optional<OrderView> order;
    std::vector<ReservationView> reservations;
    std::optional<PaymentView> payment;
    std::optional<ShipmentView> shipment;
  };
  // One participant's barriers, read page by page.
  struct Stream {
    Participant* participant;
    std::deque<SagaBarriers> read{};
    std::string after{};
    bool at_end = false;
  };
  struct Round {
    std::string installation;
    std::vector<Stream> streams{};
    std::map<std::string, std::string> pending{};  // orders by saga: PENDING, saga not in the log
    std::vector<std::string> ended{};              // barriers that nobody needs any more
    bool shared = false, young = false;            // young: … or not yet
    std::size_t lost = 0;
  };

  // lost_sagas.cpp: looking for them
  asio::awaitable<std::optional<Failure>> look_everywhere(Round& round);
  asio::awaitable<std::optional<Failure>> read_pending_orders(Round& round);
  asio::awaitable<std::optional<Failure>> fill(Round& round);
  static FoundSagas take(Round& round);
  asio::awaitable<std::optional<Failure>> look_at(Round& round, FoundSagas found);
  asio::awaitable<std::optional<Failure>> look_at_pending(Round& round);
  asio::awaitable<std::optional<Failure>> trim(Round& round);
  asio::awaitable<void> look_again();
  asio::awaitable<void> show();

  // lost_saga_look.cpp: one of them
  static void collect(Found& found, std::string_view participant, const SagaBarriers& barriers);
  asio::awaitable<Result<Found>> barriers_of(std::string saga_id);
  asio::awaitable<Result<Rows>> rows_of(std::string order_id);
  asio::awaitable<Result<bool>> examine(std::string saga_id, std::string order_id);

  std::vector<Participant*> participants_;
  const Settings& settings_;
  LostServices services_;
  LostSagaLog& log_;
  Metrics& metrics_;
  std::function<RecoveryIdentity()> identity_;
  Ticker ticker_;
  bool wanted_ = true;  // a look everywhere; after every start
  std::uint32_t failures_ = 0;
  std::chrono::steady_clock::time_point not_before_{}, again_at_{}, shown_at_{};
  std::size_t known_ = 0;
  std::string look_again_after_;
};

// For people: "3500 taken from customer-001 (CAPTURED); 1 book-123 held".
std::string at_risk(const LostSaga& saga);

}  // namespace txcoord::engine
