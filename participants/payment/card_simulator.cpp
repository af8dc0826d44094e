// The simulated card processor: see card_processor.hpp. Each change is one statement, and so one
// transaction of its own.
#include <array>
#include <map>
#include <utility>

#include "participants/payment/card_processor.hpp"
#include "txcoord/base/ids.hpp"

namespace txcoord {
namespace {

constexpr std::array<std::pair<CardState, std::string_view>, 6> state_names{{
    {CardState::authorized, "AUTHORIZED"},
    {CardState::captured, "CAPTURED"},
    {CardState::refunded, "REFUNDED"},
    {CardState::voided, "VOIDED"},
    {CardState::declined, "DECLINED"},
    {CardState::unknown, "UNKNOWN"},
}};

// Sorted by key, so that two calls over the same keys wait in one order. The answer is read in the
// next statement: ON CONFLICT DO NOTHING gives no row for a key that was there before.
constexpr pg::Statement insert_authorizations{"card_processor_authorize", R"(
  INSERT INTO card_processor_authorizations (request_key, authorization_id, amount, state)
  SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS r (key, id, amount, state) ORDER BY key
  ON CONFLICT (request_key) DO NOTHING)"};

constexpr pg::Statement read_authorizations{"card_processor_read", R"(
  SELECT request_key, authorization_id, state FROM card_processor_authorizations
   WHERE request_key = ANY($1::text[]))"};

// Locked in one order, so that two calls over the same authorisations make no cycle of waits.
constexpr pg::Statement capture_authorizations{"card_processor_capture", R"(
  UPDATE card_processor_authorizations SET state = 'CAPTURED', updated_at = now()
   WHERE authorization_id IN (
           SELECT authorization_id FROM card_processor_authorizations
            WHERE authorization_id = ANY($1::text[]) AND state = 'AUTHORIZED'
            ORDER BY authorization_id FOR UPDATE)
     AND state = 'AUTHORIZED')"};

constexpr pg::Statement reverse_authorizations{"card_processor_reverse", R"(
  UPDATE card_processor_authorizations
     SET state = CASE state WHEN 'CAPTURED' THEN 'REFUNDED' ELSE 'VOIDED' END, updated_at = now()
   WHERE authorization_id IN (
           SELECT authorization_id FROM card_processor_authorizations
            WHERE authorization_id = ANY($1::text[]) AND state IN ('AUTHORIZED', 'CAPTURED')
            ORDER BY authorization_id FOR UPDATE)
     AND state IN ('AUTHORIZED', 'CAPTURED'))"};

// A key that was never seen is taken as voided, which is what a late request then finds.
constexpr pg::Statement void_keys{"card_processor_void", R"(
  INSERT INTO card_processor_authorizations AS a (request_key, authorization_id, amount, state)
  SELECT key, id, 0, 'VOIDED' FROM unnest($1::text[], $2::text[]) AS r (key, id) ORDER BY key
  ON CONFLICT (request_key) DO UPDATE SET state = 'VOIDED', updated_at = now() WHERE a.state = 'AUTHORIZED')"};

// The answer, in the statement after the change: it sees what somebody else did while that waited.
constexpr pg::Statement read_states_by_id{"card_processor_states", R"(
  SELECT authorization_id, state FROM card_processor_authorizations
   WHERE authorization_id = ANY($1::text[]))"};

constexpr pg::Statement read_states_by_key{"card_processor_states_by_key", R"(
  SELECT request_key, state FROM card_processor_authorizations WHERE request_key = ANY($1::text[]))"};

CardStates states_of(pg::Session& session, const pg::Statement& read,
                     const std::vector<std::string>& names) {
  std::map<std::string, CardState> known;
  for (const auto& row : session.exec(read, names))
    known[row[0].as<std::string>()] = card_state(row[1].view());
  CardStates states;
  states.reserve(names.size());
  for (const std::string& name : names) {
    const auto found = known.find(name);
    states.push_back(found == known.end() ? CardState::unknown : found->second);
  }
  return states;
}

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

  asio::awaitable<Result<CardStates>> capture(std::vector<std::string> ids) override {
    return update(capture_authorizations, std::move(ids));
  }

  asio::awaitable<Result<CardStates>> reverse(std::vector<std::string> ids) override {
    return update(reverse_authorizations, std::move(ids));
  }

  asio::awaitable<Result<CardStates>> void_requests(std::vector<std::string> keys) override {
    auto work = [keys = std::move(keys)](pg::Session& session) {
      session.exec(void_keys, keys, new_authorization_ids(keys.size()));
      return states_of(session, read_states_by_key, keys);
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

  asio::awaitable<Result<CardStates>> update(const pg::Statement& statement,
                                             std::vector<std::string> ids) {
    auto work = [&statement, ids = std::move(ids)](pg::Session& session) {
      session.exec(statement, ids);
      return states_of(session, read_states_by_id, ids);
    };
    return pool_->run(std::move(work), deadline_);
  }

  std::shared_ptr<pg::Pool> pool_;
  std::chrono::milliseconds deadline_;
};

}  // namespace

std::string_view to_string(CardState state) {
  for (const auto& [value, name] : state_names)
    if (value == state) return name;
  return "UNKNOWN";
}

CardState card_state(std::string_view text) {
  for (const auto& [value, name] : state_names)
    if (name == text) return value;
  return CardState::unknown;
}

std::unique_ptr<CardProcessor> make_card_simulator(std::shared_ptr<pg::Pool> pool,
                                                   std::chrono::milliseconds deadline) {
  return std::make_unique<CardSimulator>(std::move(pool), deadline);
}

}  // namespace txcoord
