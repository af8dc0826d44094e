#include "txcoord/engine/crash_points.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace txcoord::engine {
namespace {

constexpr CrashPoint points[] = {
    {"vote.before", "a group is formed, nothing is sent"},
    {"vote.after", "every vote is in, locks are held, nothing is prepared"},
    {"judge.before", "survivors must be judged again"},
    {"prepare.before", "survivors are known, no PREPARE is sent"},
    {"prepare.order.after", "order has prepared, others may have"},
    {"prepare.inventory.after", "inventory has prepared, others may have"},
    {"prepare.payment.after", "payment has prepared, others may have"},
    {"prepare.shipping.after", "shipping has prepared, others may have"},
    {"prepare.after", "every branch is prepared, nothing is decided"},
    {"decide.before", "the decision is about to be sent"},
    {"decide.after", "the decision is durable, nobody was told, nothing is committed"},
    {"refuse.before", "refusals are about to be recorded"},
    {"refuse.after", "refusals are recorded, nobody was told"},
    {"reply.before", "the outcome is durable, nobody was told"},
    {"reply.after", "the client's answer was handed to its connection"},
    {"commit.order.before", "COMMIT PREPARED is about to be sent to order"},
    {"commit.inventory.before", "COMMIT PREPARED is about to be sent to inventory"},
    {"commit.payment.before", "COMMIT PREPARED is about to be sent to payment"},
    {"commit.shipping.before", "COMMIT PREPARED is about to be sent to shipping"},
    {"commit.order.after", "order has committed, others may have"},
    {"commit.inventory.after", "inventory has committed, others may have"},
    {"commit.payment.after", "payment has committed, others may have"},
    {"commit.shipping.after", "shipping has committed, others may have"},
    {"commit.after", "every branch is committed, completion is not recorded"},
    {"abort.before", "a group is being aborted, nothing is rolled back"},
    {"rollback.after", "a prepared branch was rolled back, others may not be"},
    {"settle.before", "the decision's acknowledgement was lost, or a PREPARE's"},
    {"settle.after", "the outcome was proven, nothing followed yet"},
    {"complete.before", "branches are committed, completion is about to be recorded"},
    {"complete.after", "completion is durable, witnesses are still there"},
    {"forget.after", "witnesses were deleted at one participant"},
    {"recovery.before", "a participant's recovery is about to read"},
    {"recovery.planned", "recovery knows what to do and has done nothing"},
    {"recovery.bury.after", "recovery wrote a tombstone, the branch is still prepared"},
    {"recovery.finish.after", "recovery committed or rolled back one branch"},
    {"saga.start.before", "sagas are about to be written, their keys to be claimed"},
    {"saga.start.after", "sagas stand in the log, no step was tried, nobody was told"},
    {"saga.order.create.before", "orders are about to be created"},
    {"saga.order.create.after", "orders are created, which is not recorded yet"},
    {"saga.inventory.reserve.before", "stock is about to be reserved"},
    {"saga.inventory.reserve.after", "stock is reserved, which is not recorded yet"},
    {"saga.payment.charge.before", "money is about to be charged"},
    {"saga.payment.charge.after", "money is charged, which is not recorded yet"},
    {"saga.shipping.arrange.before", "shipments are about to be arranged"},
    {"saga.shipping.arrange.after", "shipments are arranged, which is not recorded yet"},
    {"saga.order.confirm.before", "orders are about to be confirmed"},
    {"saga.order.confirm.after", "orders are confirmed, which is not recorded yet"},
    {"saga.order.cancel.before", "orders are about to be cancelled"},
    {"saga.order.cancel.after", "orders are cancelled, which is not recorded yet"},
    {"saga.order.fail.before", "orders are about to be failed"},
    {"saga.order.fail.after", "orders are failed, which is not recorded yet"},
    {"saga.order.revoke.before", "confirmed orders are about to be cancelled again"},
    {"saga.order.revoke.after", "confirmed orders are cancelled, which is not recorded yet"},
    {"saga.inventory.release.before", "stock is about to be released"},
    {"saga.inventory.release.after", "stock is released, which is not recorded yet"},
    {"saga.payment.refund.before", "money is about to be refunded"},
    {"saga.payment.refund.after", "money is refunded, which is not recorded yet"},
    {"saga.shipping.cancel.before", "shipments are about to be cancelled"},
    {"saga.shipping.cancel.after", "shipments are cancelled, which is not recorded yet"},
    {"saga.transact.before", "an accepted order is about to join a group"},
    {"saga.transact.after", "its group has its outcome, which is not recorded yet"},
    {"saga.record.before", "states of sagas are about to be recorded"},
    {"saga.record.after", "states of sagas are durable, nothing followed yet"},
    {"saga.reply.before", "a saga has ended durably, nobody was told"},
    {"saga.adopt.after", "unfinished sagas were adopted, nothing is tried yet"},
};

}  // namespace

std::span<const CrashPoint> CrashPoints::all() { return points; }

CrashPoints::CrashPoints(std::string_view spec) {
  if (spec.empty()) return;
  const auto colon = spec.find(':');
  armed_ = spec.substr(0, colon);
  countdown_ = 1;
  if (colon != std::string_view::npos) {
    const auto number = spec.substr(colon + 1);
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), countdown_);
    if (error != std::errc{} || end != number.data() + number.size() || countdown_ == 0)
      throw std::invalid_argument("TXCOORD_CRASH_AT: '" + std::string(number) +
                                  "' is not a count from 1");
  }
  if (std::ranges::find(points, std::string_view(armed_), &CrashPoint::name) == std::end(points))
    throw std::invalid_argument("TXCOORD_CRASH_AT: no crash point '" + armed_ +
                                "'; `txcoord crash-points` lists them");
}

void CrashPoints::reach(std::string_view point) {
  if (countdown_ == 0 || point != armed_) return;
  if (--countdown_ > 0) return;
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();  // the signal is on its way: nothing more may happen here
}

void CrashPoints::reach(std::string_view prefix, std::string_view participant,
                        std::string_view suffix) {
  if (countdown_ == 0) return;
  std::string point(prefix);
  reach(point.append(".").append(participant).append(".").append(suffix));
}

}  // namespace txcoord::engine
