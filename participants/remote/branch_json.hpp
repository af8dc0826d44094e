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
void write_operations(JsonWriter& out, const Operations& operations, std::string_view participant);
Operations read_operations(const JsonReader& reader);
void write_votes(JsonWriter& out, const protocol::Votes& votes);
protocol::Votes read_votes(const JsonReader& reader);
void write_gauges(JsonWriter& out, const ParticipantGauges& gauges);
ParticipantGauges read_gauges(const JsonReader& reader);
void write_log_point(JsonWriter& out, const protocol::LogPoint& point);
protocol::LogPoint read_log_point(const JsonReader& reader);
void write_steps(JsonWriter& out, const StepRequest& request, std::string_view participant);
StepRequest read_steps(const JsonReader& reader);
void write_replies(JsonWriter& out, const std::vector<StepReply>& replies);
std::vector<StepReply> read_replies(const JsonReader& reader);
void write_barriers_query(JsonWriter& out, const BarriersQuery& query);
BarriersQuery read_barriers_query(const JsonReader& reader);
void write_barriers(JsonWriter& out, const BarriersPage& page);
BarriersPage read_barriers(const JsonReader& reader);

// A failure as a whole problem document, and the status that goes with it.
std::string failure_body(const Failure& failure);
int failure_status(FailureKind kind);
// Of an answer that was not 200. What is no failure of this protocol (a proxy's page, another
// program's 404) is `error`; 503 and 504 of whoever stands in between are what they say.
Failure read_failure(int status, std::string_view body);

}  // namespace txcoord::remote
