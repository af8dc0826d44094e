// What the log keeps of sagas that it has lost: found in the participants' databases
// (engine/lost_sagas.hpp), shown until a person resolves them. Behind this port:
// pg_lost_saga_log.hpp. All calls on the I/O thread, awaited there; each may be repeated.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "txcoord/log/saga_log.hpp"

namespace txcoord {

// As of its last look; not resolved while `resolution` is empty.
struct LostSaga {
  std::string saga_id, type, order_id;  // order_id empty: not known
  std::string order_status, customer_id, payment_status, stock_held, shipment_status;
  Money money_taken = 0;
  bool may_compensate = false, may_complete = false;
  UtcTime found_at{}, looked_at{};
  std::string resolution, resolution_key;
};

// A lost saga as it is written into the log again.
struct SagaRewrite {
  std::string saga_id, type, order_id, correlation_id;
  std::string status, current_step, reason, detail;
  std::uint32_t progress = 0;
  bool confirmed = false;  // its client was told so; only what was due is undone
  std::string kind;        // of its operation, as the log names it: place, cancel
  std::string payload;     // saga_payload.hpp
  std::string resolution, resolution_key;
};

class LostSagaLog {
 public:
  virtual ~LostSagaLog() = default;

  // Those of these sagas that the log does not know.
  virtual asio::awaitable<Result<std::vector<std::string>>> unknown(
      std::vector<std::string> saga_ids) = 0;
  // Those of these orders of which the log knows no saga.
  virtual asio::awaitable<Result<std::vector<std::string>>> orders_without_saga(
      std::vector<std::string> order_ids) = 0;

  // Writes what was found, or seen anew; true: found for the first time. One that a person has
  // resolved stays resolved.
  virtual asio::awaitable<Result<bool>> put(LostSaga saga) = 0;
  // Nothing of it is at risk any more.
  virtual asio::awaitable<Result<Done>> gone(std::string saga_id) = 0;
  // Writes the saga into the log again, owned by nobody, so that it is adopted; and its key, under
  // the scope "lost". Once: false if the saga is not there, or was resolved before. Fenced.
  virtual asio::awaitable<Result<bool>> resolve(SagaOwner owner, SagaRewrite saga) = 0;

  virtual asio::awaitable<Result<std::optional<LostSaga>>> find(std::string saga_id) = 0;
  // Those that are not resolved.
  virtual asio::awaitable<Result<std::vector<LostSaga>>> of_order(std::string order_id) = 0;
  // … newest first; `before` is the last saga_id of the page before.
  virtual asio::awaitable<Result<std::vector<LostSaga>>> list(std::size_t limit,
                                                              std::string before) = 0;
  virtual asio::awaitable<Result<std::size_t>> count() = 0;
  // Deletes those that were resolved before `keep`.
  virtual asio::awaitable<Result<Done>> trim(std::chrono::seconds keep) = 0;
};

}  // namespace txcoord
