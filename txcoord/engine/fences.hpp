// Fences at the participants: what this process raises there, and when (I1, I8, I11).
//
// Why no write of a coordinator that was taken over lands after its work went on elsewhere:
//  1. A step, a trim, a witness delete, a note of the log is committed by a participant only while
//     the fence there is exactly its owner's (participants/pg_fence.hpp).
//  2. Adopted work names its former owner, and every round reads the committed epochs of all
//     coordinators from the log before it adopts: both are required here before any of it runs. So
//     an adoption whose answer was lost is covered too, when the next round finds it.
//  3. Nothing of this process is sent to a participant before all that is required then is raised
//     there (ensure()). That is late enough for a participant that is away, which holds up its own
//     steps alone, and early enough, since only there could the former owner still write.
//  4. Barriers go only when everything is raised at all participants (raise_everywhere()): until
//     then a step that comes late finds its barrier.
//  5. A try of this very process that was not answered may come late too. Its barriers go after a
//     new generation was raised over the one that sent it (begin_generation()).
// A raise is repeated when a participant was away, since its server may have been replaced by one
// that lost it; and what stands there is looked at in every pass of recovery. Single-threaded.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "participants/participant.hpp"
#include "txcoord/engine/health.hpp"
#include "txcoord/log/transaction_log.hpp"

namespace txcoord::engine {

class Fences {
 public:
  // `fenced` is called when a participant knows a later process of this coordinator.
  Fences(asio::any_io_executor io, std::vector<Participant*> participants, TransactionLog& log,
         Health& health, std::function<void(std::string)> fenced);

  // The greatest epoch of this coordinator that a participant which can be reached now knows of.
  // Waits for the slowest of them, at most for one call's deadline.
  asio::awaitable<std::uint64_t> greatest_epoch(std::string installation, std::string coordinator);

  // Who this process is; before anything is sent.
  void own(FenceOwner owner);
  const FenceOwner& owner() const { return owner_; }
  LogOwner log_owner() const { return {owner_.coordinator, owner_.epoch}; }
  // This process goes on under another incarnation; what it sent before is fenced wherever this is
  // raised. False, and nothing is changed, while the generation before is not raised everywhere.
  bool begin_generation(std::string incarnation);

  // From now on nothing is sent to a participant where this coordinator's fence is below `epoch`.
  void require(const std::string& coordinator, std::uint64_t epoch);
  // … of all coordinators, their committed epochs. False: the log did not answer.
  asio::awaitable<bool> require_committed();

  // Whether all that is required is raised there, as far as is known.
  bool raised(std::string_view participant) const;
  // Raises what is missing. A failure: send nothing there. `fenced`: this process must stop.
  asio::awaitable<Result<Done>> ensure(Participant& participant);
  // The same, from a look at what stands there now: after a refusal, and now and then.
  asio::awaitable<Result<Done>> look(Participant& participant);
  asio::awaitable<bool> raise_everywhere();
  // The participant was away.
  void forget(std::string_view participant) { raised_.erase(std::string(participant)); }

 private:
  asio::awaitable<Result<Done>> raise_missing(Participant& participant,
                                              std::vector<FenceOwner> standing);
  asio::awaitable<Result<Done>> raise_own(Participant& participant, FenceOwner standing);
  bool holds_own(const FenceOwner& standing) const;
  void without_fences(std::string_view participant);

  asio::any_io_executor io_;
  std::vector<Participant*> participants_;
  TransactionLog& log_;
  Health& health_;
  std::function<void(std::string)> fenced_;
  FenceOwner owner_;
  std::deque<std::string> former_;                 // incarnations of this process, bounded
  std::map<std::string, std::uint64_t> required_;  // by coordinator
  std::uint64_t wanted_ = 1;                       // grows with every change of the two above
  std::map<std::string, std::uint64_t, std::less<>> raised_;  // participant: up to which of them
  std::map<std::string, bool, std::less<>> lacks_fences_;     // participants of an earlier version
};

}  // namespace txcoord::engine
