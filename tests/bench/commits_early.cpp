// What txcoord must never be: payment's branch is committed as soon as it is prepared, before
// anybody has decided. The program is the shipped one, object for object; only make_payment() is
// another one, put in its place by the linker (--wrap in cmake/Tests.cmake). The tests of the
// observer run it: instruments that show nothing here would prove nothing anywhere.
#include <utility>

#include "participants/payment/payment.hpp"

namespace txcoord {
namespace {

class CommitsEarly final : public Participant {
 public:
  explicit CommitsEarly(std::unique_ptr<Participant> inner) : inner_(std::move(inner)) {}

  asio::awaitable<Result<Done>> prepare(protocol::Gid gid, OperationMask survivors) override {
    auto preparing = inner_->prepare(gid, std::move(survivors));
    const auto prepared = co_await std::move(preparing);
    if (!prepared) co_return prepared.failure();
    auto committing = inner_->commit_prepared(std::move(gid));  // the planted fault
    co_return co_await std::move(committing);
  }

  std::string_view name() const override { return inner_->name(); }
  bool touches(const Operation& operation) const override { return inner_->touches(operation); }
  asio::awaitable<Result<protocol::Votes>> vote(protocol::Gid gid, Operations operations) override {
    return inner_->vote(std::move(gid), std::move(operations));
  }
  asio::awaitable<Result<protocol::Votes>> judge(protocol::Gid gid,
                                                 OperationMask candidates) override {
    return inner_->judge(std::move(gid), std::move(candidates));
  }
  asio::awaitable<void> release(protocol::Gid gid) override {
    return inner_->release(std::move(gid));
  }
  asio::awaitable<Result<Done>> commit_prepared(protocol::Gid gid) override {
    return inner_->commit_prepared(std::move(gid));
  }
  asio::awaitable<Result<Done>> rollback_prepared(protocol::Gid gid) override {
    return inner_->rollback_prepared(std::move(gid));
  }
  asio::awaitable<Result<bool>> has_witness(protocol::Gid gid) override {
    return inner_->has_witness(std::move(gid));
  }
  asio::awaitable<Result<std::vector<protocol::Gid>>> list_prepared(
      std::string installation) override {
    return inner_->list_prepared(std::move(installation));
  }
  asio::awaitable<Result<Done>> trim_witnesses(std::vector<protocol::Gid> gids) override {
    return inner_->trim_witnesses(std::move(gids));
  }
  asio::awaitable<Result<ParticipantGauges>> gauges(std::string installation) override {
    return inner_->gauges(std::move(installation));
  }
  asio::awaitable<Result<protocol::LogPoint>> log_seen(std::string installation) override {
    return inner_->log_seen(std::move(installation));
  }
  asio::awaitable<Result<Done>> note_log_seen(std::string installation,
                                              protocol::LogPoint point) override {
    return inner_->note_log_seen(std::move(installation), std::move(point));
  }
  asio::awaitable<Result<std::vector<StepReply>>> run_step(protocol::Gid gid,
                                                           StepRequest request) override {
    return inner_->run_step(std::move(gid), std::move(request));
  }
  asio::awaitable<Result<Done>> trim_steps(std::vector<std::string> saga_ids) override {
    return inner_->trim_steps(std::move(saga_ids));
  }
  asio::awaitable<Result<BarriersPage>> list_steps(BarriersQuery query) override {
    return inner_->list_steps(std::move(query));
  }

 private:
  std::unique_ptr<Participant> inner_;
};

}  // namespace

// The linker's names for the two; the mangled part is make_payment's (Itanium C++ ABI).
#define TXC_MAKE_PAYMENT                                                                   \
  "_ZN7txcoord12make_paymentERKN5boost4asio15any_io_executorERKNS_16DatabaseSettingsEPNS_" \
  "7MetricsERKNS_20ParticipantDeadlinesE"
PaymentParts make_payment_really(const asio::any_io_executor&, const DatabaseSettings&, Metrics*,
                                 const ParticipantDeadlines&) asm("__real_" TXC_MAKE_PAYMENT);
PaymentParts make_payment_early(const asio::any_io_executor&, const DatabaseSettings&, Metrics*,
                                const ParticipantDeadlines&) asm("__wrap_" TXC_MAKE_PAYMENT);

PaymentParts make_payment_early(const asio::any_io_executor& io, const DatabaseSettings& database,
                                Metrics* metrics, const ParticipantDeadlines& deadlines) {
  PaymentParts parts = make_payment_really(io, database, metrics, deadlines);
  parts.participant = std::make_unique<CommitsEarly>(std::move(parts.participant));
  return parts;
}

}  // namespace txcoord
