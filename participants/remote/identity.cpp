// See identity.hpp.
#include "participants/remote/identity.hpp"

#include <array>

#include "txcoord/base/json_writer.hpp"

namespace txcoord::remote {
namespace {

constexpr std::string_view done_member = "done";
// Each of them makes an answer one of another kind, or a failure.
constexpr std::array<std::string_view, 12> other_kinds = {
    "votes",  "replies", "gids",    "present",         "found", "rows",
    "fences", "sagas",   "failure", "outcome_unknown", "error", "status"};

void write_identity(JsonWriter& out, const Identity& identity) {
  out.field("call", identity.call).field("request_id", identity.request_id);
}

// The object that is open in `out`, closed with the members of `object` at its end.
std::string joined(JsonWriter& out, std::string_view object) {
  std::string text = out.take();
  const std::string_view members = object.substr(1);
  if (members != "}") text.push_back(',');
  return text.append(members);
}

std::string bounded(std::string text) {
  return text.size() <= identity_text_bytes_max ? std::move(text) : std::string();
}

bool is(const JsonReader& answer, std::string_view member, const std::string& text) {
  return answer.has(member) && answer.text(member) == text;
}

}  // namespace

std::string request_text(const Identity& identity, std::string_view participant,
                         std::string_view object) {
  JsonWriter out;
  out.begin_object().field("participant", participant);
  write_identity(out, identity);
  return joined(out, object);
}

std::string answer_text(const Identity& identity, std::string_view object) {
  JsonWriter out;
  out.begin_object();
  write_identity(out, identity);
  out.field_if("gid", identity.gid);
  if (object == "{}") out.field(done_member, true);
  return joined(out, object);
}

Identity identity_of_request(const JsonReader& reader, std::string_view participant,
                             std::string_view call, std::string_view request_id) {
  if (reader.has("participant") && reader.text("participant") != participant)
    reader.refuse("participant", "is not the one of the path");
  if (reader.has("call") && reader.text("call") != call)
    reader.refuse("call", "is not the one of the path");
  Identity identity{std::string(call), {}, std::string(request_id)};
  if (reader.has("gid")) identity.gid = bounded(reader.text("gid"));
  if (reader.has("request_id")) identity.request_id = reader.text("request_id");
  identity.request_id = bounded(std::move(identity.request_id));
  return identity;
}

bool repeats(const JsonReader& answer, const Identity& identity, bool success, std::string& why) {
  try {
    if (!answer.has("request_id") && !answer.has("call")) {
      why =
          "it does not repeat what was asked: it is of an older version, or no participant. "
          "Upgrade participants first";
      return false;
    }
    const bool gid_may_be_absent = !success || identity.gid.empty();
    const bool gid_fits =
        answer.has("gid") ? answer.text("gid") == identity.gid : gid_may_be_absent;
    if (is(answer, "request_id", identity.request_id) && is(answer, "call", identity.call) &&
        gid_fits)
      return true;
    why = "it answers another call";
  } catch (const JsonReadError& unreadable) {
    why = unreadable.what();
  }
  return false;
}

void read_done(const JsonReader& reader) {
  if (!reader.flag(done_member)) reader.refuse(done_member, "is not true");
  for (const std::string_view member : other_kinds)
    if (reader.has(member)) reader.refuse(member, "does not belong to what was done");
}

}  // namespace txcoord::remote
