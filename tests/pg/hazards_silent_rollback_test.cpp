// Hazard: PREPARE TRANSACTION in a failed transaction gives no error, it is a ROLLBACK. A client
// that takes it for a yes reports a branch that does not exist. The answer: the witness stands
// before PREPARE in one string, which stops at its first error.
#include <catch2/catch_test_macros.hpp>

#include "participants/pg_participant.hpp"
#include "tests/pg/branch_rig.hpp"

namespace txcoord {
namespace {

using test::await;

class YesToAll final : public LockedRows {
 public:
  protocol::Votes judge(const Operations& operations, const OperationMask&) const override {
    return protocol::Votes(operations.size());
  }
};

enum class Fault { swallows_an_error, ends_the_transaction };

// A service's logic with the worst manners: it hides that its transaction failed, or is over.
class FaultyLogic final : public BranchLogic {
 public:
  explicit FaultyLogic(Fault fault) : fault_(fault) {}
  std::string_view name() const override { return "inventory"; }
  bool touches(const Operation&) const override { return true; }
  std::unique_ptr<LockedRows> without_locks(const Operations&) const override {
    return std::make_unique<YesToAll>();
  }
  std::unique_ptr<LockedRows> lock(pg::Session&, const Operations&, const PreliminaryPtr&,
                                   LockMode) const override {
    return std::make_unique<YesToAll>();
  }
  void apply(pg::Session& session, const Operations&, const OperationMask&, const LockedRows&,
             const std::string&) const override {
    if (fault_ == Fault::ends_the_transaction) {
      session.exec_simple("COMMIT");
      return;
    }
    try {
      session.exec_simple("SELECT 1/0");
    } catch (const pqxx::sql_error&) {
      return;
    }
  }

 private:
  Fault fault_;
};

struct FaultyRig {
  explicit FaultyRig(Fault fault)
      : participant(
            make_pools(io.get_executor(), "inventory", test::settings_of(database), nullptr),
            std::make_shared<FaultyLogic>(fault), {}, nullptr) {}
  test::ServiceDatabase database{"inventory"};
  boost::asio::io_context io;
  PgParticipant participant;
  test::BranchDriver branch{io, participant};

  void check_never_prepared() {
    const auto gid = branch.next_gid();
    branch.vote(gid, {test::operation_on(uuid_v7(), OperationKind::place)});
    const auto done = branch.prepare(gid, {true});
    REQUIRE_FALSE(done.ok());
    CHECK_FALSE(done.failure().message.empty());
    CHECK(database.prepared() == "0");
    CHECK_FALSE(branch.has_witness(gid));
  }
};

TEST_CASE("prepare_in_a_failed_transaction_gives_no_error_and_is_a_rollback", "[hazard]") {
  test::ServiceDatabase database("inventory");
  auto session = test::connect(database.dsn());
  session->exec_simple("BEGIN; INSERT INTO inventory (sku) VALUES ('lost')");
  CHECK_THROWS(session->exec_simple("SELECT 1/0"));
  CHECK_NOTHROW(session->exec_simple("PREPARE TRANSACTION 'silent'"));  // it seems to have worked
  CHECK(database.prepared() == "0");
  CHECK(database.value("SELECT count(*) FROM inventory") == "0");
}

TEST_CASE("branch_whose_logic_hid_an_error_is_never_reported_as_prepared", "[hazard][I1]") {
  FaultyRig rig(Fault::swallows_an_error);
  rig.check_never_prepared();
}

// Outside of a transaction block the last string would be a transaction of its own, and would
// prepare a branch that holds its witness and nothing else.
TEST_CASE("branch_whose_transaction_is_gone_is_never_prepared_with_its_witness_alone",
          "[hazard][I1]") {
  test::ServiceDatabase database("inventory");
  auto session = test::connect(database.dsn());
  CHECK_NOTHROW(session->exec_simple(
      "INSERT INTO txc_branch (gid) VALUES ('g'); PREPARE TRANSACTION 'hollow'"));
  CHECK(database.prepared() == "1");

  FaultyRig rig(Fault::ends_the_transaction);
  rig.check_never_prepared();
}

}  // namespace
}  // namespace txcoord
