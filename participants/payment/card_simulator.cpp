// The simulated card processor: see card_processor.hpp. Each call is one statement, and so one
// transaction of its own.
#include <map>
#include <utility>

#include "participants/payment/card_processor.hpp"
#include "txcoord/base/ids.hpp"

namespace txcoord {
namespace {

// Sorted by key, so that two calls over the same keys wait in one order. The answer is read in the
// next statement: ON CONFLICT DO NOTHING gives no row for a key that was there before.
constexpr pg::Statement insert_authorizations{"card_processor_authorize", R"(
  INSERT INTO card_processor_authorizations (request_key, authorization_id, amount, state)
  SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS r (key, id, amount, state) ORDER BY key
  ON CONFLICT (request_key) DO NOTHING)"};

constexpr pg::Statement read_authorizations{"card_processor_read", R"(
  SELECT request_key, authorization_id, state FROM card_processor_authorizations
   WHERE request_key = ANY($1::text[]))"};

constexpr pg::Statement capture_authorizations{"card_processor_capture", R"(
  UPDATE card_processor_authorizations SET state = 'CAPTURED', updated_at = now()
   WHERE authorization_id = ANY($1::text[]) AND state = 'AUTHORIZED')"};

constexpr pg::Statement reverse_authorizations{"card_processor_reverse", R"(
  UPDATE card_processor_authorizations
     SET state = CASE state WHEN 'CAPTURED' THEN 'REFUNDED' ELSE 'VOIDED' END, updated_at = now()
   WHERE authorization_id = ANY($1::text[]) AND state IN ('AUTHORIZED', 'CAPTURED'))"};

// A key that was never seen is taken as voided, which is what a late request then finds.
constexpr pg::Statement void_keys{"card_processor_void", R"(
  INSERT INTO card_processor_authorizations AS a (request_key, authorization_id, amount, state)
  SELECT key, id, 0, 'VOIDED' FROM unnest($1::text[], $2::text[]) AS r (key, id) ORDER BY key
  ON CONFLICT (request_key) DO UPDATE SET state = 'VOIDED', updated_at = now() WHERE a.state = 'AUTHORIZED')"};

std::vector<std::string> new_authorization_ids(std::size_t count) {
  std::vector<std::string> ids;
  ids.reserve(count);
  while (ids.size() < count) ids.push_back("sim_" + uuid_v7());
  return ids;
}

class CardSimulator final : public CardProcessor {
 public:
  CardSimulator(std::shared_ptr<pg::Pool> pool, std::chrono::milliseconds deadline)
      : pool_(std::move(pool)), deadline_(deadline) {}

  asio::awaitable<Result<std::vector<CardOutcome>>> authorize(
      std::vector<CardRequest> requests) override {
    auto work = [requests = std::move(requests)](pg::Session& session) {
      return decide(session, requests);
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<Done>> capture(std::vector<std::string> ids) override {
    return update(capture_authorizations, std::move(ids));
  }

  asio::awaitable<Result<Done>> reverse(std::vector<std::string> ids) override {
    return update(reverse_authorizations, std::move(ids));
  }

  asio::awaitable<Result<Done>> void_requests(std::vector<std::string> keys) override {
    auto work = [keys = std::move(keys)](pg::Session& session) {
      session.exec(void_keys, keys, new_authorization_ids(keys.size()));
      return Done{};
    };
    return pool_->run(std::move(work), deadline_);
  }

 private:
  static std::vector<CardOutcome> decide(pg::Session& session,
                                         const std::vector<CardRequest>& requests) {
    std::vector<std::string> keys, states;
    std::vector<Money> amounts;
    for (const CardRequest& request : requests) {
      keys.push_back(request.request_key);
      amounts.push_back(request.amount);
      states.emplace_back(request.token == "tok_declined" ? "DECLINED" : "AUTHORIZED");
    }
    session.exec(insert_authorizations, keys, new_authorization_ids(keys.size()), amounts, states);
    std::map<std::string, CardOutcome> by_key;
    for (const auto& row : session.exec(read_authorizations, keys)) {
      const bool authorized = row[2].view() == "AUTHORIZED" || row[2].view() == "CAPTURED";
      by_key[row[0].as<std::string>()] = {
          authorized ? CardAnswer::authorized : CardAnswer::declined, row[1].as<std::string>()};
    }
    std::vector<CardOutcome> outcomes;
    for (const CardRequest& request : requests) {
      const bool answers = request.token != "tok_timeout";
      outcomes.push_back(answers ? by_key[request.request_key] : CardOutcome{});
    }
    return outcomes;
  }

  asio::awaitable<Result<Done>> update(const pg::Statement& statement,
                                       std::vector<std::string> ids) {
    auto work = [&statement, ids = std::move(ids)](pg::Session& session) {
      session.exec(statement, ids);
      return Done{};
    };
    return pool_->run(std::move(work), deadline_);
  }

  std::shared_ptr<pg::Pool> pool_;
  std::chrono::milliseconds deadline_;
};

}  // namespace

std::unique_ptr<CardProcessor> make_card_simulator(std::shared_ptr<pg::Pool> pool,
                                                   std::chrono::milliseconds deadline) {
  return std::make_unique<CardSimulator>(std::move(pool), deadline);
}

}  // namespace txcoord
