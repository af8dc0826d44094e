// See branch_json.hpp.
#include "participants/remote/branch_json.hpp"

#include <array>
#include <cmath>

#include "participants/operation_json.hpp"

namespace txcoord::remote {
namespace {

constexpr std::array<Word<protocol::Answer>, 3> answers{{{protocol::Answer::yes, "yes"},
                                                         {protocol::Answer::no, "no"},
                                                         {protocol::Answer::retry, "retry"}}};
constexpr std::array<Word<StepStatus>, 4> statuses{{{StepStatus::done, "done"},
                                                    {StepStatus::refused, "refused"},
                                                    {StepStatus::barred, "barred"},
                                                    {StepStatus::retry, "retry"}}};
constexpr std::array<Word<LockMode>, 2> lock_modes{
    {{LockMode::skip, "skip"}, {LockMode::wait, "wait"}}};
constexpr std::array<Word<FailureKind>, 9> failures{{{FailureKind::unavailable, "unavailable"},
                                                     {FailureKind::timeout, "timeout"},
                                                     {FailureKind::deadlock, "deadlock"},
                                                     {FailureKind::lock_timeout, "lock_timeout"},
                                                     {FailureKind::poison, "poison"},
                                                     {FailureKind::not_found, "not_found"},
                                                     {FailureKind::busy, "busy"},
                                                     {FailureKind::fenced, "fenced"},
                                                     {FailureKind::error, "error"}}};

template <class T, std::size_t size>
std::span<const Word<T>> all(const std::array<Word<T>, size>& words) {
  return words;
}

std::size_t count(const JsonReader& reader, std::string_view member) {
  const std::int64_t value = reader.integer(member);
  if (value < 0) reader.refuse(member, "is negative");
  return static_cast<std::size_t>(value);
}

// The elements of a batch, each of which must name its own member of the question.
std::vector<JsonReader> named(const JsonReader& reader, std::string_view batch,
                              std::string_view name, const std::vector<std::string>& ids) {
  auto objects = reader.objects(batch);
  if (objects.size() != ids.size()) reader.refuse(batch, "are of another number than was asked");
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (objects[i].text(name) != ids[i]) objects[i].refuse(name, "is not the one that was asked");
  return objects;
}

}  // namespace

std::vector<std::string> order_ids_of(const Operations& operations) {
  std::vector<std::string> ids;
  ids.reserve(operations.size());
  for (const auto& operation : operations) ids.push_back(operation->order_id);
  return ids;
}

std::vector<std::string> saga_ids_of(const StepRequest& request) {
  std::vector<std::string> ids;
  ids.reserve(request.calls.size());
  for (const StepCall& call : request.calls) ids.push_back(call.saga_id);
  return ids;
}

void write_gid(JsonWriter& out, const protocol::Gid& gid) { out.field("gid", format(gid)); }

protocol::Gid read_gid(const JsonReader& reader) {
  auto gid = protocol::parse_gid(reader.text("gid"));
  if (!gid) reader.refuse("gid", "is no global transaction id");
  return std::move(*gid);
}

void write_gids(JsonWriter& out, const std::vector<protocol::Gid>& gids) {
  out.key("gids").begin_array();
  for (const protocol::Gid& gid : gids) out.value(format(gid));
  out.end_array();
}

std::vector<protocol::Gid> read_gids(const JsonReader& reader) {
  std::vector<protocol::Gid> gids;
  const auto texts = reader.texts("gids");
  gids.reserve(texts.size());
  for (const std::string& text : texts) {
    auto gid = protocol::parse_gid(text);
    if (!gid) reader.refuse("gids", "holds what is no global transaction id");
    gids.push_back(std::move(*gid));
  }
  return gids;
}

void write_mask(JsonWriter& out, std::string_view name, const OperationMask& mask) {
  out.key(name).begin_array();
  for (const bool bit : mask) out.value(bit);
  out.end_array();
}

void write_texts(JsonWriter& out, std::string_view name, const std::vector<std::string>& texts) {
  out.key(name).begin_array();
  for (const std::string& text : texts) out.value(std::string_view(text));
  out.end_array();
}

void write_lock_mode(JsonWriter& out, LockMode mode) {
  out.field("lock", word_of(mode, all(lock_modes)));
}

LockMode read_lock_mode(const JsonReader& reader) {
  if (reader.text_or_empty("lock").empty()) return LockMode::wait;
  return reader.one_of("lock", all(lock_modes));
}

void write_operations(JsonWriter& out, const Operations& operations, std::string_view participant) {
  out.key("operations").begin_array();
  for (const auto& operation : operations) write_operation(out, *operation, participant);
  out.end_array();
}

Operations read_operations(const JsonReader& reader) {
  Operations operations;
  const auto objects = reader.objects("operations");
  operations.reserve(objects.size());
  for (const JsonReader& object : objects)
    operations.push_back(std::make_shared<const Operation>(read_operation(object)));
  return operations;
}

void write_votes(JsonWriter& out, const protocol::Votes& votes,
                 const std::vector<std::string>& order_ids) {
  out.key("votes").begin_array();
  for (std::size_t i = 0; i < votes.size(); ++i) {
    const protocol::Vote& vote = votes[i];
    out.begin_object();
    if (i < order_ids.size()) out.field("order_id", order_ids[i]);
    out.field("answer", word_of(vote.answer, all(answers))).field("final", vote.final);
    out.field_if("reason", vote.reason).field_if("detail", vote.detail);
    out.field_if("busy", vote.busy).field_if("holder", vote.holder).end_object();
  }
  out.end_array();
}

protocol::Votes read_votes(const JsonReader& reader, const std::vector<std::string>& order_ids) {
  protocol::Votes votes;
  const auto objects = named(reader, "votes", "order_id", order_ids);
  votes.reserve(objects.size());
  for (const JsonReader& object : objects)
    votes.push_back({object.one_of("answer", all(answers)), object.flag("final"),
                     object.text_or_empty("reason"), object.text_or_empty("detail"),
                     object.text_or_empty("busy"), object.text_or_empty("holder")});
  return votes;
}

void write_gauges(JsonWriter& out, const ParticipantGauges& gauges) {
  out.field("in_doubt_branches", gauges.in_doubt_branches)
      .field("in_doubt_oldest_ms", std::llround(1000 * gauges.in_doubt_oldest_seconds))
      .field("prepared_slots_max", gauges.prepared_slots_max)
      .field("prepared_slots_used", gauges.prepared_slots_used)
      .field("xmin_age_transactions", gauges.xmin_age_transactions)
      .field("blocked_sessions", gauges.blocked_sessions);
}

ParticipantGauges read_gauges(const JsonReader& reader) {
  ParticipantGauges gauges;
  gauges.in_doubt_branches = count(reader, "in_doubt_branches");
  gauges.in_doubt_oldest_seconds = static_cast<double>(reader.integer("in_doubt_oldest_ms")) / 1000;
  gauges.prepared_slots_max = count(reader, "prepared_slots_max");
  gauges.prepared_slots_used = count(reader, "prepared_slots_used");
  gauges.xmin_age_transactions = reader.integer("xmin_age_transactions");
  gauges.blocked_sessions = count(reader, "blocked_sessions");
  return gauges;
}

void write_log_point(JsonWriter& out, const protocol::LogPoint& point) {
  out.field("system_identifier", point.system_identifier)
      .field("timeline", point.timeline)
      .field("lsn", static_cast<std::int64_t>(point.lsn));
}

protocol::LogPoint read_log_point(const JsonReader& reader) {
  return {reader.text("system_identifier"), reader.integer("timeline"),
          static_cast<std::uint64_t>(count(reader, "lsn"))};
}

void write_fence(JsonWriter& out, const FenceOwner& fence) {
  out.field("installation", fence.installation)
      .field("coordinator", fence.coordinator)
      .field("epoch", static_cast<std::int64_t>(fence.epoch))
      .field("incarnation", fence.incarnation);
}

FenceOwner read_fence(const JsonReader& reader) {
  return {reader.text("installation"), reader.text("coordinator"),
          static_cast<std::uint64_t>(count(reader, "epoch")), reader.text("incarnation")};
}

void write_owner(JsonWriter& out, const std::optional<FenceOwner>& owner) {
  if (!owner) return;
  out.key("owner").begin_object();
  write_fence(out, *owner);
  out.end_object();
}

std::optional<FenceOwner> read_owner(const JsonReader& reader) {
  if (!reader.has("owner")) return std::nullopt;
  return read_fence(reader.object("owner"));
}

void write_fences(JsonWriter& out, const std::vector<FenceOwner>& fences) {
  out.key("fences").begin_array();
  for (const FenceOwner& fence : fences) {
    out.begin_object();
    write_fence(out, fence);
    out.end_object();
  }
  out.end_array();
}

std::vector<FenceOwner> read_fences(const JsonReader& reader) {
  std::vector<FenceOwner> fences;
  const auto objects = reader.objects("fences");
  fences.reserve(objects.size());
  for (const JsonReader& object : objects) fences.push_back(read_fence(object));
  return fences;
}

void write_steps(JsonWriter& out, const StepRequest& request, std::string_view participant) {
  out.field("step", request.step)
      .field("undoes", request.undoes)
      .field("must_succeed", request.must_succeed);
  write_lock_mode(out, request.lock_mode);
  out.key("calls").begin_array();
  for (const StepCall& call : request.calls) {
    out.begin_object().field("saga_id", call.saga_id).field_if("refuse_as", call.refuse_as);
    out.key("operation");
    write_operation(out, *call.operation, participant);
    out.end_object();
  }
  out.end_array();
}

StepRequest read_steps(const JsonReader& reader) {
  StepRequest request;
  request.step = reader.text("step");
  request.undoes = reader.text_or_empty("undoes");
  request.must_succeed = reader.flag_or_false("must_succeed");
  request.lock_mode = read_lock_mode(reader);
  const auto calls = reader.objects("calls");
  request.calls.reserve(calls.size());
  for (const JsonReader& call : calls) {
    auto operation = std::make_shared<const Operation>(read_operation(call.object("operation")));
    request.calls.push_back(
        {call.text("saga_id"), std::move(operation), call.text_or_empty("refuse_as")});
  }
  return request;
}

void write_replies(JsonWriter& out, const std::vector<StepReply>& replies,
                   const std::vector<std::string>& saga_ids) {
  out.key("replies").begin_array();
  for (std::size_t i = 0; i < replies.size(); ++i) {
    const StepReply& reply = replies[i];
    out.begin_object();
    if (i < saga_ids.size()) out.field("saga_id", saga_ids[i]);
    out.field("status", word_of(reply.status, all(statuses)));
    out.field_if("reason", reply.reason).field_if("detail", reply.detail).end_object();
  }
  out.end_array();
}

std::vector<StepReply> read_replies(const JsonReader& reader,
                                    const std::vector<std::string>& saga_ids) {
  std::vector<StepReply> replies;
  const auto objects = named(reader, "replies", "saga_id", saga_ids);
  replies.reserve(objects.size());
  for (const JsonReader& object : objects)
    replies.push_back({object.one_of("status", all(statuses)), object.text_or_empty("reason"),
                       object.text_or_empty("detail")});
  return replies;
}

int failure_status(FailureKind kind) {
  switch (kind) {
    case FailureKind::unavailable: return 503;
    case FailureKind::timeout: return 504;
    case FailureKind::deadlock:
    case FailureKind::lock_timeout:
    case FailureKind::busy:
    case FailureKind::fenced: return 409;
    case FailureKind::not_found: return 404;
    case FailureKind::poison: return 422;
    case FailureKind::unreadable:  // of whoever asked, never told by a participant
    case FailureKind::error: break;
  }
  return 500;
}

std::string failure_body(const Failure& failure) {
  return failure_body(failure, failure_status(failure.kind));
}

std::string failure_body(const Failure& failure, int status) {
  JsonWriter out;
  const std::string_view word = word_of(failure.kind, all(failures));
  out.begin_object()
      .field("title", word)
      .field("status", status)
      .field("failure", word)
      .field("outcome_unknown", failure.outcome_unknown)
      .field("sqlstate", failure.sqlstate)
      .field("detail", failure.message)
      .end_object();
  return out.take();
}

Failure read_failure(int status, const JsonReader& reader) {
  Failure failure{reader.one_of("failure", all(failures)), reader.flag("outcome_unknown"),
                  reader.text_or_empty("sqlstate"), reader.text_or_empty("detail")};
  const bool fits =
      failure.kind == FailureKind::error ? status >= 400 : status == failure_status(failure.kind);
  if (!fits) reader.refuse("failure", "does not fit the status");
  return failure;
}

}  // namespace txcoord::remote
