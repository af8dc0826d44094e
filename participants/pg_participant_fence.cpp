// Fences in the participant's database: see pg_fence.hpp.
#include "participants/pg_fence.hpp"
#include "participants/pg_participant.hpp"
#include "txcoord/base/logging.hpp"

namespace txcoord {
namespace fence_sql {
namespace {

constexpr pg::Statement raise_row{"fence_raise", R"(
  INSERT INTO txc_fence AS f (installation, coordinator, epoch, incarnation)
  VALUES ($1, $2, $3, $4)
  ON CONFLICT (installation, coordinator) DO UPDATE
     SET epoch = excluded.epoch, incarnation = excluded.incarnation,
         raised_at = clock_timestamp()
   WHERE f.epoch < excluded.epoch
      OR (f.epoch = excluded.epoch AND excluded.incarnation <> '' AND f.incarnation IN ('', $5)))"};

constexpr pg::Statement read_row{"fence_read", R"(
  SELECT epoch, incarnation FROM txc_fence WHERE installation = $1 AND coordinator = $2)"};

constexpr pg::Statement list_rows{"fence_list", R"(
  SELECT coordinator, epoch, incarnation FROM txc_fence WHERE installation = $1)"};

}  // namespace

std::string check_and_commit(pg::Session& session, const FenceOwner& owner) {
  return "SELECT 1/count(*) FROM (SELECT 1 FROM txc_fence WHERE installation = " +
         session.quote(owner.installation) +
         " AND coordinator = " + session.quote(owner.coordinator) +
         " AND epoch = " + std::to_string(owner.epoch) +
         " AND incarnation = " + session.quote(owner.incarnation) + " FOR SHARE) f;COMMIT";
}

Raised raise(pg::Session& session, const FenceOwner& owner, const std::string& replaces) {
  return in_local_transaction(session, [&] {
    // Whoever raised it does things that rest on it as soon as this returns.
    session.exec_simple("SET LOCAL synchronous_commit = on");
    const pqxx::result made = session.exec(raise_row, owner.installation, owner.coordinator,
                                           owner.epoch, owner.incarnation, replaces);
    if (made.affected_rows() == 1) return Raised{owner, true};
    const pqxx::result rows = session.exec(read_row, owner.installation, owner.coordinator);
    const auto row = rows.at(0);
    return Raised{{owner.installation, owner.coordinator, row.at(0).as<std::uint64_t>(),
                   row.at(1).as<std::string>()},
                  false};
  });
}

std::vector<FenceOwner> list(pg::Session& session, const std::string& installation) {
  std::vector<FenceOwner> fences;
  for (const auto& row : session.exec(list_rows, installation))
    fences.push_back({installation, row.at(0).as<std::string>(), row.at(1).as<std::uint64_t>(),
                      row.at(2).as<std::string>()});
  return fences;
}

}  // namespace fence_sql

asio::awaitable<Result<FenceOwner>> PgParticipant::raise_fence(FenceOwner owner,
                                                               std::string replaces) {
  auto work = [owner = std::move(owner),
               replaces = std::move(replaces)](pg::Session& session) -> FenceOwner {
    return fence_sql::raise(session, owner, replaces).standing;
  };
  return pools_.finish->run(std::move(work), deadlines_.finish);
}

asio::awaitable<Result<std::vector<FenceOwner>>> PgParticipant::fences(std::string installation) {
  auto work = [installation = std::move(installation)](pg::Session& session) {
    return fence_sql::list(session, installation);
  };
  return pools_.finish->run(std::move(work), deadlines_.finish);
}

// What may be lost in a crash, since it is done again; but never after its owner was fenced.
asio::awaitable<Result<Done>> PgParticipant::run_fenced(pg::Pool& pool,
                                                        std::optional<FenceOwner> owner,
                                                        std::function<void(pg::Session&)> change) {
  auto work = [owner, change = std::move(change)](pg::Session& session) -> std::optional<Done> {
    const auto careless = [&] {
      session.exec_simple("SET LOCAL synchronous_commit = off");
      change(session);
      return Done{};
    };
    if (!owner) return in_local_transaction(session, careless);
    return fence_sql::transaction(session, *owner, careless);
  };
  auto running = pool.run(std::move(work), deadlines_.finish);
  const auto done = co_await std::move(running);
  if (!done) co_return done.failure();
  if (!done.value()) co_return fenced_out(*owner);
  co_return Done{};
}

Failure PgParticipant::fenced_out(const FenceOwner& owner) const {
  if (metrics_ != nullptr) metrics_->fence_refusal(name());
  logging::warn("refused: its owner was fenced",
                {{"participant", name()},
                 {"coordinator", std::string_view(owner.coordinator)},
                 {"epoch", static_cast<std::int64_t>(owner.epoch)}});
  return {FailureKind::fenced, false, std::string(fence_sql::refused_sqlstate),
          std::string(name()) + ": the fence was raised above this owner"};
}

}  // namespace txcoord
