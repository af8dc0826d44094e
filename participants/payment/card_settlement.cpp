// See card_settlement.hpp.
#include "participants/payment/card_settlement.hpp"

#include <algorithm>
#include <utility>

#include "participants/payment/payment_branch.hpp"
#include "txcoord/base/halves.hpp"
#include "txcoord/base/logging.hpp"

namespace txcoord {
namespace {

using card_sql::Tried;

// Errands, intents, marked intents, each for one round; a smaller share for those tried before.
constexpr std::size_t round_rows_max = 200;
constexpr std::size_t tried_rows_max = 50;
constexpr unsigned failures_in_round_max = 8;

constexpr const char* capture = "CAPTURE";
constexpr const char* reverse = "REVERSE";

std::size_t rows_max(Tried tried) {
  return tried == Tried::never ? round_rows_max : tried_rows_max;
}

// The state that an errand is for, or one that it can no longer leave. Any other state may still
// become one of these.
bool is_final(CardState state, std::string_view action) {
  return state != CardState::authorized && (action == capture || state != CardState::captured);
}

void show_refused(const card_sql::Recorded& recorded) {
  for (const auto& errand : recorded.refused) {
    logging::error("the card processor's answer contradicts a payment: it needs a person",
                   {{"payment_id", std::string_view(errand.payment_id)},
                    {"order_id", std::string_view(errand.order_id)},
                    {"action", std::string_view(errand.action)},
                    {"answer", std::string_view(errand.answer)}});
  }
}

}  // namespace

asio::awaitable<Result<CardSettlementReport>> CardSettler::settle_cards(GlobalStates states) {
  auto listing = old_intents();
  const auto gids = co_await std::move(listing);
  if (!gids && gids.failure().kind == FailureKind::unavailable) co_return gids.failure();
  std::vector<protocol::Gid> ended;
  if (gids && !gids.value().empty()) {
    auto asking = states(gids.value());
    const auto known = co_await std::move(asking);
    // Committed counts too: an order of the group may have fallen, and its card was not used. The
    // intents that were used are deleted, or locked by the branch until COMMIT PREPARED.
    for (std::size_t i = 0; known && i < gids.value().size() && i < known.value().size(); ++i)
      if (known.value()[i] != GlobalState::active) ended.push_back(gids.value()[i]);
  }
  auto settling = settle_ended(std::move(ended));
  co_return co_await std::move(settling);
}

CardSettlement::CardSettlement(std::shared_ptr<pg::Pool> pool,
                               std::shared_ptr<CardProcessor> processor,
                               std::chrono::milliseconds deadline, Metrics* metrics)
    : pool_(std::move(pool)),
      processor_(std::move(processor)),
      deadline_(deadline),
      metrics_(metrics) {}

template <class Work>
auto CardSettlement::on_database(Work work) {
  return pool_->run(std::move(work), deadline_);
}

asio::awaitable<Result<CardSettlementReport>> CardSettlement::settle_ended(
    std::vector<protocol::Gid> ended) {
  Round round;
  round.failures_left = failures_in_round_max;
  // Captures first: a reversal of the same payment is always the later errand. (A capture that
  // still comes second finds the authorisation reversed, and it stays so.)
  for (const char* const action : {capture, reverse}) {
    for (const Tried tried : {Tried::never, Tried::before}) {
      auto running = run_errands(action, tried, round);
      const auto run = co_await std::move(running);
      round.note(run);
    }
  }
  auto recording = record_answered(round);
  const auto recorded = co_await std::move(recording);
  round.note(recorded);
  auto marking = mark_unused(ended);
  const auto marked = co_await std::move(marking);
  round.note(marked);
  for (const Tried tried : {Tried::never, Tried::before}) {
    auto voiding = void_marked(tried, round);
    const auto voided = co_await std::move(voiding);
    round.note(voided);
  }
  auto looking = look_at_rest(round.report);
  const auto looked = co_await std::move(looking);
  round.note(looked);
  if (round.failed) co_return *round.failed;
  co_return round.report;
}

// Asks for all at once. A call that fails is repeated in halves, down to the one that fails alone;
// not where nobody answers at all. What stays without an answer is asked again in a later round.
asio::awaitable<CardSettlement::Answers> CardSettlement::ask_in_parts(
    const CardCall& call, const std::vector<std::string>& names, Round& round) {
  Answers answers(names.size());
  std::vector<std::pair<std::size_t, std::size_t>> parts{{0, names.size()}};  // [first, last)
  while (!parts.empty() && round.failures_left > 0) {
    const auto [first, last] = parts.back();
    parts.pop_back();
    const auto begin = names.begin();
    std::vector<std::string> some(begin + static_cast<std::ptrdiff_t>(first),
                                  begin + static_cast<std::ptrdiff_t>(last));
    auto asking = call(std::move(some));
    const auto states = co_await std::move(asking);
    if (states && states.value().size() == last - first) {
      std::copy(states.value().begin(), states.value().end(),
                answers.begin() + static_cast<std::ptrdiff_t>(first));
      continue;
    }
    Failure failure{FailureKind::error, true, "",
                    "the card processor: an answer of another length"};
    if (!states) failure = states.failure();
    --round.failures_left;
    if (failure.kind == FailureKind::unavailable) round.failures_left = 0;
    if (!round.failed) round.failed = std::move(failure);
    if (last - first == 1) continue;
    const std::size_t middle = first + (last - first) / 2;
    parts.emplace_back(middle, last);
    parts.emplace_back(first, middle);
  }
  co_return answers;
}

asio::awaitable<Result<Done>> CardSettlement::run_errands(const char* action, Tried tried,
                                                          Round& round) {
  if (round.failures_left == 0) co_return Done{};
  auto claiming = on_database([action, tried, pause = retry_ms_min](pg::Session& session) {
    return card_sql::claim_errands(session, action, tried, pause, rows_max(tried));
  });
  const auto claimed = co_await std::move(claiming);
  if (!claimed) co_return claimed.failure();
  const card_sql::Errands& errands = claimed.value();
  if (errands.entry_ids.empty()) co_return Done{};

  const CardCall call = [this, action](std::vector<std::string> ids) {
    return action == capture ? processor_->capture(std::move(ids))
                             : processor_->reverse(std::move(ids));
  };
  auto asking = ask_in_parts(call, errands.references, round);
  const Answers answers = co_await std::move(asking);
  std::vector<std::int64_t> answered;
  CardStates states;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i] || !is_final(*answers[i], action)) continue;
    answered.push_back(errands.entry_ids[i]);
    states.push_back(*answers[i]);
  }
  if (answered.empty()) co_return Done{};
  auto keeping = on_database(
      [answered = std::move(answered), states = std::move(states)](pg::Session& session) {
        card_sql::keep_answers(session, answered, states);
        return Done{};
      });
  co_return co_await std::move(keeping);
}

// One transaction for all; if it fails, in halves, down to the errand that fails alone: that one is
// put aside.
asio::awaitable<Result<Done>> CardSettlement::record_answered(Round& round) {
  auto listing = on_database(
      [](pg::Session& session) { return card_sql::recordable_errands(session, round_rows_max); });
  auto listed = co_await std::move(listing);
  if (!listed) co_return listed.failure();
  Result<Done> outcome{Done{}};
  std::vector<std::vector<std::int64_t>> parts;
  if (!listed.value().empty()) parts.push_back(std::move(listed).value());
  unsigned failures_left = failures_in_round_max;
  while (!parts.empty() && failures_left > 0) {
    std::vector<std::int64_t> entries = std::move(parts.back());
    parts.pop_back();
    auto recording = on_database(
        [entries](pg::Session& session) { return card_sql::record_errands(session, entries); });
    const auto recorded = co_await std::move(recording);
    if (recorded) {
      round.report.captured += recorded.value().captured;
      round.report.reversed += recorded.value().reversed;
      show_refused(recorded.value());
      continue;
    }
    --failures_left;
    outcome = recorded.failure();
    if (recorded.failure().kind == FailureKind::unavailable) break;
    if (entries.size() == 1) {
      auto putting =
          on_database([id = entries.front(), pause = retry_ms_min](pg::Session& session) {
            card_sql::put_errand_aside(session, id, pause);
            return Done{};
          });
      co_await std::move(putting);
      continue;
    }
    auto [first, second] = halves(std::move(entries));
    parts.push_back(std::move(second));
    parts.push_back(std::move(first));
  }
  co_return outcome;
}

asio::awaitable<Result<std::vector<protocol::Gid>>> CardSettlement::old_intents() {
  auto listing = on_database([age = intent_age_min, place = place_](pg::Session& session) {
    return card_sql::intents_after(session, place, age, round_rows_max);
  });
  const auto page = co_await std::move(listing);
  if (!page) co_return page.failure();
  place_ = page.value().next;
  std::vector<protocol::Gid> gids;
  for (const std::string& text : page.value().gids) {
    auto gid = protocol::parse_gid(text);
    if (gid) gids.push_back(std::move(*gid));
  }
  co_return gids;
}

asio::awaitable<Result<Done>> CardSettlement::mark_unused(const std::vector<protocol::Gid>& ended) {
  if (ended.empty()) co_return Done{};
  std::vector<std::string> gids;
  gids.reserve(ended.size());
  for (const protocol::Gid& gid : ended) gids.push_back(format(gid));
  auto marking = on_database([gids = std::move(gids)](pg::Session& session) {
    card_sql::mark_intents(session, gids);
    return Done{};
  });
  co_return co_await std::move(marking);
}

asio::awaitable<Result<Done>> CardSettlement::void_marked(Tried tried, Round& round) {
  if (round.failures_left == 0) co_return Done{};
  auto claiming = on_database([tried, pause = retry_ms_min](pg::Session& session) {
    return card_sql::claim_marked(session, tried, pause, rows_max(tried));
  });
  const auto claimed = co_await std::move(claiming);
  if (!claimed) co_return claimed.failure();
  const card_sql::Intents& marked = claimed.value();
  std::vector<std::string> keys;
  keys.reserve(marked.gids.size());
  for (std::size_t i = 0; i < marked.gids.size(); ++i)
    keys.push_back(card_request_key(marked.gids[i], marked.payment_ids[i]));
  if (keys.empty()) co_return Done{};

  const CardCall call = [this](std::vector<std::string> names) {
    return processor_->void_requests(std::move(names));
  };
  auto asking = ask_in_parts(call, keys, round);
  const Answers answers = co_await std::move(asking);
  card_sql::Intents gone, taken;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i] || *answers[i] == CardState::authorized || *answers[i] == CardState::unknown)
      continue;
    auto& intents = *answers[i] == CardState::captured ? taken : gone;
    intents.gids.push_back(marked.gids[i]);
    intents.payment_ids.push_back(marked.payment_ids[i]);
  }
  for (std::size_t i = 0; i < taken.gids.size(); ++i) {
    logging::error(
        "the card processor took money that no payment here stands for: it needs a person",
        {{"payment_id", std::string_view(taken.payment_ids[i])},
         {"gid", std::string_view(taken.gids[i])}});
  }
  if (gone.gids.empty() && taken.gids.empty()) co_return Done{};
  auto finishing =
      on_database([gone = std::move(gone), taken = std::move(taken)](pg::Session& session) {
        return card_sql::finish_intents(session, gone, taken);
      });
  const auto deleted = co_await std::move(finishing);
  if (!deleted) co_return deleted.failure();
  round.report.voided += deleted.value();
  co_return Done{};
}

asio::awaitable<Result<Done>> CardSettlement::look_at_rest(CardSettlementReport& report) {
  auto looking = on_database([](pg::Session& session) { return card_sql::what_is_left(session); });
  const auto left = co_await std::move(looking);
  if (!left) {
    if (metrics_ != nullptr) metrics_->outbox_lag_not_seen();
    co_return left.failure();
  }
  report.lag_seconds = left.value().lag_seconds;
  report.refused = left.value().refused;
  if (metrics_ != nullptr) {
    metrics_->outbox_lag(report.lag_seconds);
    metrics_->card_errands_refused(report.refused);
  }
  co_return Done{};
}

}  // namespace txcoord
