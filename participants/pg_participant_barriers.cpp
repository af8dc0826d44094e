// What was done for sagas, as the barriers of one database tell it: see Participant::list_steps().
#include "participants/pg_participant.hpp"

namespace txcoord {
namespace {

// Both read the primary key in its order, so that a page costs what it holds. No step's name has a
// comma or an equals sign.
#define TXC_BARRIERS_OF_SAGA                                  \
  "SELECT saga_id, coalesce(max(order_id::text), ''),"        \
  " extract(epoch FROM clock_timestamp() - max(at))::float8," \
  " string_agg(step || '=' || outcome, ',' ORDER BY step) FROM txc_saga_steps WHERE "

constexpr pg::Statement page_of_barriers{
    "step_page",
    TXC_BARRIERS_OF_SAGA "saga_id > $1::uuid GROUP BY saga_id ORDER BY saga_id LIMIT $2"};

constexpr pg::Statement named_barriers{
    "step_named",
    TXC_BARRIERS_OF_SAGA "saga_id = ANY ($1::uuid[]) GROUP BY saga_id ORDER BY saga_id"};

// A coordinator tells its databases how far the log has come about once a second.
constexpr pg::Statement others_work_here{"step_shared", R"(
  SELECT EXISTS (SELECT FROM txc_log_seen
                  WHERE installation <> $1 AND at > clock_timestamp() - interval '60 seconds'))"};

constexpr std::string_view before_all = "00000000-0000-0000-0000-000000000000";

std::map<std::string, std::string> steps_of(std::string_view text) {
  std::map<std::string, std::string> steps;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    const auto equals = one.find('=');
    steps.emplace(one.substr(0, equals), one.substr(equals + 1));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
  }
  return steps;
}

}  // namespace

asio::awaitable<Result<BarriersPage>> PgParticipant::list_steps(BarriersQuery query) {
  auto work = [query = std::move(query)](pg::Session& session) {
    BarriersPage page;
    const std::string after(query.after.empty() ? before_all : std::string_view(query.after));
    const pqxx::result rows =
        query.saga_ids.empty()
            ? session.exec(page_of_barriers, after, static_cast<std::int64_t>(query.limit))
            : session.exec(named_barriers, query.saga_ids);
    for (const pqxx::row& row : rows) {
      page.sagas.push_back({row[0].as<std::string>(), row[1].as<std::string>(),
                            steps_of(row[3].view()), row[2].as<double>()});
    }
    page.shared = session.exec(others_work_here, query.installation)[0][0].as<bool>();
    return page;
  };
  return pools_.service->run(std::move(work), deadlines_.service);
}

}  // namespace txcoord
