// A participant that is a service of its own: the port, spoken over HTTP
// (docs/participant-protocol.md). Threads and failures as in participant.hpp.
#pragma once

#include <memory>
#include <string>

#include "participants/participant.hpp"
#include "participants/pg_pools.hpp"
#include "participants/remote/remote_service.hpp"
#include "txcoord/metrics/metrics.hpp"

namespace txcoord::remote {

// Whether an operation of this kind has work at that participant: the table of the protocol.
bool has_work_at(std::string_view participant, OperationKind kind);

// `name`: order, inventory, payment or shipping. `metrics` may be null; it outlives the
// participant.
std::unique_ptr<Participant> make_remote_participant(std::string name,
                                                     std::shared_ptr<RemoteService> service,
                                                     ParticipantDeadlines deadlines,
                                                     Metrics* metrics);

}  // namespace txcoord::remote
