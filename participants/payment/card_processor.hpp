// The card processor's port: a third party that cannot PREPARE. Calls on the I/O thread, awaited
// there; each ends by a deadline of its own. Every call may be repeated: it changes nothing twice.
//
// What the processor answers is what is recorded: each call that changes something tells the state
// in which it left each authorisation, whoever brought it there and when.
//
// The simulator behind make_card_simulator() keeps its books in tables of its own and in
// transactions of its own, so that it remembers what it promised whatever happens to us.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "participants/operation.hpp"
#include "participants/payment/payment_judge.hpp"
#include "txcoord/base/failure.hpp"
#include "txcoord/pg/pool.hpp"

namespace txcoord {

struct CardRequest {
  std::string request_key;  // the same key never authorises twice
  Money amount = 0;
  std::string token;  // a secret: never logged; stored in an open saga's payload alone
};

// An authorisation in the processor's books. unknown: it has no such authorisation, or no state
// that we know.
enum class CardState : std::uint8_t { authorized, captured, refunded, voided, declined, unknown };
std::string_view to_string(CardState state);  // as tables hold it: "CAPTURED"
CardState card_state(std::string_view text);  // anything else is unknown
using CardStates = std::vector<CardState>;

class CardProcessor {
 public:
  virtual ~CardProcessor() = default;
  // One outcome for each request, in order. A Failure: nobody knows what was authorised.
  virtual asio::awaitable<Result<std::vector<CardOutcome>>> authorize(
      std::vector<CardRequest> requests) = 0;

  // Each of the following answers with one state for each name, in order, as it is after the call.
  // A Failure: nobody knows which of them were done.
  //
  // Takes the money that is authorised. One that was reversed before stays reversed. `authorized`:
  // not taken yet.
  virtual asio::awaitable<Result<CardStates>> capture(
      std::vector<std::string> authorization_ids) = 0;
  // Gives back what was captured (refunded), lets go what was only authorised (voided).
  // `authorized`, `captured`: not reversed yet.
  virtual asio::awaitable<Result<CardStates>> reverse(
      std::vector<std::string> authorization_ids) = 0;
  // Lets go whatever is authorised under these keys, and makes sure that a request that is still on
  // its way finds its key used up: after this, none of them is ever authorised. What was captured
  // stays captured, and says so.
  virtual asio::awaitable<Result<CardStates>> void_requests(
      std::vector<std::string> request_keys) = 0;
};

// tok_declined is declined; tok_timeout is authorised in the processor's books and never answered;
// any other token is authorised.
std::unique_ptr<CardProcessor> make_card_simulator(std::shared_ptr<pg::Pool> pool,
                                                   std::chrono::milliseconds deadline);

}  // namespace txcoord
