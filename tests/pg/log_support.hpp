// What the tests of the log share: a log database of their own, coordinators on it, operations.
#pragma once

#include <boost/asio/detached.hpp>

#include "pg_support.hpp"
#include "txcoord/log/pg_transaction_log.hpp"
#include "txcoord/log/pg_transaction_log_sql.hpp"
#include "txcoord/pg/migrate.hpp"

namespace txcoord::test {

using protocol::Answer;
using protocol::Gid;

inline std::shared_ptr<const Operation> operation(
    const std::string& key, const std::string& scope = "client POST /v1/orders") {
  auto made = std::make_shared<Operation>();
  made->order_id = uuid_v7();
  made->scope = scope;
  made->idempotency_key = key;
  made->fingerprint.fill(static_cast<std::uint8_t>(key.size()));
  made->fingerprint[0] = 0xAB;
  made->answer = R"({"order":")" + made->order_id + R"("})";
  return made;
}

inline Operations group_of(const std::vector<std::string>& keys) {
  Operations operations;
  for (const std::string& key : keys) operations.push_back(operation(key));
  return operations;
}

inline DecisionRecord confirm_all(std::size_t operations) {
  DecisionRecord record;
  record.participants = {"inventory", "order"};
  for (std::size_t i = 0; i < operations; ++i) record.confirmed.push_back(i);
  return record;
}

class LogTest {
 public:
  LogTest() : database("LOG") {
    pg::migrate(database.dsn(), "log");
    settings.log.dsn = database.dsn();
    settings.engine.lease_ms = 60000;
  }

  std::unique_ptr<TransactionLog> make_log() {
    return make_pg_transaction_log(io.get_executor(), settings, nullptr);
  }
  // Raises the coordinator's epoch; gids of that epoch.
  Gid first_gid(TransactionLog& log, const std::string& coordinator) {
    const std::uint64_t epoch = await(io, log.raise_epoch(coordinator)).value();
    return {await(io, log.installation()).value(), coordinator, epoch, "0a1b2c3d", 1};
  }
  std::unique_ptr<pg::Session> session() { return connect(database.dsn()); }
  std::int64_t count(const std::string& from) {
    return session()->exec_simple("SELECT count(*) FROM " + from).at(0).at(0).as<std::int64_t>();
  }
  // Claims and decides in one go: everything confirmed.
  void decide_all(TransactionLog& log, const Gid& gid, const Operations& operations) {
    if (!await(io, log.claim(gid, operations)).ok()) throw std::runtime_error("not claimed");
    if (!await(io, log.decide(gid, confirm_all(operations.size()))).ok())
      throw std::runtime_error("not decided");
  }
  // Take-overs are claimed on what stands there now, as if it had been watched for long enough.
  std::vector<LeaseClaim> claims(TransactionLog& log, const std::vector<std::string>& names) {
    const auto coordinators = await(io, log.coordinators()).value();
    const auto identity = await(io, log.identity()).value();
    std::vector<LeaseClaim> made;
    for (const auto& name : names) made.push_back({name, coordinators.at(name), identity});
    return made;
  }
  std::vector<std::string> take_over(TransactionLog& log, const std::vector<std::string>& names) {
    return await(io, log.take_over(claims(log, names))).value();
  }
  // Begins; ends while the context is driven.
  void release(TransactionLog& log, const Gid& gid) {
    asio::co_spawn(io, log.release(gid), asio::detached);
  }

  FreshDatabase database;
  Settings settings;
  boost::asio::io_context io;  // before the logs: they go first
};

inline LogOwner owner_of(const Gid& gid) { return {gid.coordinator, gid.epoch}; }

inline Gid next(Gid gid) {
  ++gid.seq;
  return gid;
}

}  // namespace txcoord::test
