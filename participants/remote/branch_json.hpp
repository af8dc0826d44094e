// The branch protocol's bodies as JSON (docs/participant-protocol.md), for both of its ends.
// Every read_… throws JsonReadError; every write_… takes texts that are UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "participants/participant.hpp"
#include "txcoord/base/json_reader.hpp"
#include "txcoord/base/json_writer.hpp"

namespace txcoord::remote {

// Members of the object that is open in `out`, or that `reader` is on.
void write_gid(JsonWriter& out, const protocol::Gid& gid);  // "gid"
protocol::Gid read_gid(const JsonReader& reader);
void write_gids(JsonWriter& out, const std::vector<protocol::Gid>& gids);  // "gids"
std::vector<protocol::Gid> read_gids(const JsonReader& reader);
void write_mask(JsonWriter& out, std::string_view name, const OperationMask& mask);
void write_texts(JsonWriter& out, std::string_view name, const std::vector<std::string>& texts);
void write_lock_mode(JsonWriter& out, LockMode mode);  // "lock"
// An older caller does not say it, and does not know that rows can be skipped: wait.
LockMode read_lock_mode(const JsonReader& reader);
void write_operations(JsonWriter& out, const Operations& operations, std::string_view participant);
Operations read_operations(const JsonReader& reader);
// Votes and replies name what they are for, so that no other batch's are taken for them: as many as
// were asked for, each with its order's, or its saga's, id, in the order of the question.
void write_votes(JsonWriter& out, const protocol::Votes& votes,
                 const std::vector<std::string>& order_ids);
protocol::Votes read_votes(const JsonReader& reader, const std::vector<std::string>& order_ids);
void write_gauges(JsonWriter& out, const ParticipantGauges& gauges);
ParticipantGauges read_gauges(const JsonReader& reader);
void write_log_point(JsonWriter& out, const protocol::LogPoint& point);
protocol::LogPoint read_log_point(const JsonReader& reader);
// Members of the object that is open, or that `reader` is on.
void write_fence(JsonWriter& out, const FenceOwner& fence);
FenceOwner read_fence(const JsonReader& reader);
// "owner": absent for a caller of an earlier version.
void write_owner(JsonWriter& out, const std::optional<FenceOwner>& owner);
std::optional<FenceOwner> read_owner(const JsonReader& reader);
void write_fences(JsonWriter& out, const std::vector<FenceOwner>& fences);
std::vector<FenceOwner> read_fences(const JsonReader& reader);
void write_steps(JsonWriter& out, const StepRequest& request, std::string_view participant);
StepRequest read_steps(const JsonReader& reader);
void write_replies(JsonWriter& out, const std::vector<StepReply>& replies,
                   const std::vector<std::string>& saga_ids);
std::vector<StepReply> read_replies(const JsonReader& reader,
                                    const std::vector<std::string>& saga_ids);
std::vector<std::string> order_ids_of(const Operations& operations);
std::vector<std::string> saga_ids_of(const StepRequest& request);
void write_barriers_query(JsonWriter& out, const BarriersQuery& query);
BarriersQuery read_barriers_query(const JsonReader& reader);
void write_barriers(JsonWriter& out, const BarriersPage& page);
BarriersPage read_barriers(const JsonReader& reader);

// A failure as a whole problem document, and the status that goes with it.
// A problem document; `status` is the one that it is sent with.
std::string failure_body(const Failure& failure, int status);
std::string failure_body(const Failure& failure);
int failure_status(FailureKind kind);
// Of an answer that was not 200. Throws JsonReadError for what is no failure of this protocol:
// another program's page, a word that is not known, a status that says something else.
Failure read_failure(int status, const JsonReader& reader);

}  // namespace txcoord::remote
