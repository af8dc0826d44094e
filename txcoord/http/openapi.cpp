// See openapi.hpp.
#include "txcoord/http/openapi.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/http/schemas.hpp"
#include "txcoord/version.hpp"

namespace txcoord::http {
namespace {

// What any route may answer beside its own: what the door refuses (door.hpp), what cannot be read,
// and what is away.
constexpr int common_problems[] = {400, 403, 405, 408, 413, 415, 417, 421, 431, 500, 503, 505};

// Character classes, as schema.cpp judges texts: what is not seen, and blanks.
const std::string unseen = std::string(R"(\x00-\x1F\x7F-\x9F\xAD\u061C\u200B\u200E\u200F)") +
                           R"(\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB)" +
                           "\xF3\xA0\x80\x80-\xF3\xA0\x81\xBF";
constexpr std::string_view blanks =
    R"( \xA0\u1680\u2000-\u200A\u200C\u200D\u202F\u205F\u2800\u3000\u3164)";

std::string text_pattern(bool may_be_blank) {
  const std::string seen = "[^" + unseen + "]*";
  if (may_be_blank) return "^" + seen + "$";
  return "^" + seen + "[^" + unseen + std::string(blanks) + "]" + seen + "$";
}

constexpr std::string_view uuid_pattern =
    "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";
// Bare, or in quotes.
constexpr std::string_view key_pattern = R"(^([!#-~][!-~]{0,254}|"[!#-~]{1,255}")$)";

constexpr std::string_view common_description =
    "One order, atomic over four PostgreSQL databases. Money is int64 in minor units of the "
    "deployment's one currency; times are UTC, RFC 3339; errors are RFC 9457 problems.";

class Document {
 public:
  Document(const RouteSet& routes, const OpenApiOptions& options) : options_(options) {
    for (const Route* route : routes)
      if (serves(*route, options.port)) routes_.push_back(route);
  }

  std::string write() {
    out_.begin_object().field("openapi", "3.1.0");
    out_.key("info")
        .begin_object()
        .field("title", options_.title)
        .field("version", version)
        .field("description", std::string(common_description) + options_.note)
        .end_object();
    paths();
    components();
    out_.end_object();
    return out_.take();
  }

 private:
  void paths() {
    out_.key("paths").begin_object();
    std::set<std::string_view> done;
    for (const Route* route : routes_) {
      if (!done.insert(route->path).second) continue;
      out_.key(route->path).begin_object();
      for (const Route* same : routes_) {
        if (same->path == route->path) operation(*same);
      }
      out_.end_object();
    }
    out_.end_object();
  }

  void operation(const Route& route) {
    std::string method(route.method);
    std::transform(method.begin(), method.end(), method.begin(),
                   [](char c) { return static_cast<char>(c | 0x20); });
    out_.key(method)
        .begin_object()
        .field("operationId", route.operation_id)
        .field("summary", route.summary);
    if (needs_token(route)) {
      out_.key("security").begin_array().begin_object().key(token_scheme).begin_array().end_array();
      out_.end_object().end_array();
    }
    parameters(route);
    if (route.request != nullptr) {
      out_.key("requestBody").begin_object().field("required", !route.body_optional);
      content("application/json", route.request);
      out_.end_object();
    }
    responses(route);
    out_.end_object();
  }

  void parameters(const Route& route) {
    out_.key("parameters").begin_array();
    if (const std::size_t open = route.path.find('{'); open != std::string_view::npos) {
      const std::size_t close = route.path.find('}');
      parameter(route.path.substr(open + 1, close - open - 1), "path", true, *route.path_schema);
    }
    for (const QueryParameter& query : route.query)
      parameter(query.name, "query", query.required, *query.schema);
    if (route.key_required)
      header_parameter("Idempotency-Key", true, key_pattern,
                       "Bare or in quotes. One key has one effect and one answer; another body "
                       "under it is refused.");
    header_parameter(
        "X-Correlation-ID", false, {},
        "Echoed and logged if it is 1 to 128 of letters, digits and -_.:/+=@; else one "
        "is made.");
    header_parameter("traceparent", false, {},
                     "W3C Trace Context, version 00. Echoed if it is one; else one is made.");
    if (route.preferences)
      header_parameter("Prefer", false, {},
                       "applied: answer when every database has it. respond-async (placing an "
                       "order): 202 at once. wait=SECONDS. What is not understood is passed over.");
    out_.end_array();
  }

  void header_parameter(std::string_view name, bool required, std::string_view pattern,
                        std::string_view description) {
    out_.begin_object().field("name", name).field("in", "header").field("required", required);
    out_.field("description", description);
    out_.key("schema").begin_object().field("type", "string").field_if("pattern", pattern);
    out_.end_object().end_object();
  }

  void parameter(std::string_view name, std::string_view in, bool required, const Schema& schema) {
    out_.begin_object().field("name", name).field("in", in).field("required", required);
    out_.key("schema");
    write_schema(schema);
    out_.end_object();
  }

  void responses(const Route& route) {
    std::map<int, const Success*> answers;
    for (const int status : common_problems) answers.emplace(status, nullptr);
    for (const int status : route.problems) answers.emplace(status, nullptr);
    if (needs_token(route)) answers.emplace(401, nullptr);
    for (const Success& success : route.successes) answers[success.status] = &success;
    out_.key("responses").begin_object();
    for (const auto& [status, success] : answers) {
      out_.key(std::to_string(status)).begin_object();
      out_.field("description",
                 success != nullptr ? success->description : "A problem; its reason says which.");
      headers(route, status);
      // A 503 of /readyz may be a problem too: too many connections.
      const bool problem = status >= 400;
      const bool document = success != nullptr && success->schema != nullptr;
      if (problem || document) out_.key("content").begin_object();
      if (document) media_type(success->media, success->schema);
      if (problem) media_type(problem_media, &schemas::problem);
      if (problem || document) out_.end_object();
      out_.end_object();
    }
    out_.end_object();
  }

  void headers(const Route& route, int status) {
    out_.key("headers").begin_object();
    header("X-Correlation-ID", "The request's, or one that was made.");
    header("traceparent", "The request's, or one that was made.");
    const bool success = status < 300;
    if (success && status > 200 && route.key_required) header("Location", "Where to look.");
    if (success && route.key_required) header("Idempotency-Replayed", "true: this is a replay.");
    if (success && route.preferences)
      header("Preference-Applied", "Of Prefer, what the answer was made by.");
    if (status == 202 || status == 409 || status == 503 || status == 504)
      header("Retry-After", "Seconds, where it may be sent or looked at again.");
    if (status == 401) header("WWW-Authenticate", "Bearer");
    if (status == 405) header("Allow", "The methods of this path.");
    if (status == 415) header("Accept-Encoding", "identity, if the coding was refused.");
    out_.end_object();
  }

  void header(std::string_view name, std::string_view description) {
    out_.key(name).begin_object().field("description", description);
    out_.key("schema").begin_object().field("type", "string").end_object().end_object();
  }

  void content(std::string_view media, const Schema* schema) {
    out_.key("content").begin_object();
    media_type(media, schema);
    out_.end_object();
  }

  void media_type(std::string_view media, const Schema* schema) {
    out_.key(media).begin_object().key("schema");
    write_schema(*schema);
    out_.end_object();
  }

  // A named schema is referred to, and written once under components.
  void write_schema(const Schema& schema) {
    if (schema.name.empty()) return write_body(schema);
    named_.emplace(schema.name, &schema);
    out_.begin_object()
        .field("$ref", "#/components/schemas/" + std::string(schema.name))
        .end_object();
  }

  void write_body(const Schema& schema) {
    out_.begin_object();
    switch (schema.kind) {
      case SchemaKind::text: text(schema); break;
      case SchemaKind::integer:
        out_.field("type", "integer").field("format", "int64").field("minimum", schema.least);
        out_.field("maximum", schema.most);
        break;
      case SchemaKind::share:
        out_.field("type", "number").field("minimum", 0).field("maximum", 1);
        break;
      case SchemaKind::boolean: out_.field("type", "boolean"); break;
      case SchemaKind::array:
        out_.field("type", "array").field("minItems", schema.least).field("maxItems", schema.most);
        out_.key("items");
        write_schema(*schema.items);
        break;
      case SchemaKind::object: object(schema); break;
    }
    out_.field_if("description", schema.description);
    if (!schema.example.empty()) {
      out_.key("examples").begin_array();
      out_.raw(schema.example);
      out_.end_array();
    }
    out_.end_object();
  }

  void text(const Schema& schema) {
    out_.field("type", "string");
    if (!schema.choices.empty()) {
      out_.key(schema.more_choices ? "examples" : "enum").begin_array();
      for (const std::string_view choice : schema.choices) out_.value(choice);
      out_.end_array();
      if (!schema.more_choices) return;
    }
    switch (schema.rule) {
      case TextRule::free:
        if (schema.most < std::numeric_limits<std::int64_t>::max())
          out_.field("pattern", text_pattern(schema.least == 0));
        break;
      case TextRule::visible: out_.field("pattern", "^[!-~]+$"); break;
      case TextRule::uuid: out_.field("format", "uuid").field("pattern", uuid_pattern); break;
      case TextRule::time: out_.field("format", "date-time"); break;
      case TextRule::correlation: out_.field("pattern", "^[-A-Za-z0-9_.:/+=@]+$"); break;
      case TextRule::reason: out_.field("pattern", "^[A-Z][A-Z0-9_]*$"); break;
    }
    if (schema.least > 0) out_.field("minLength", schema.least);
    if (schema.most < std::numeric_limits<std::int64_t>::max())
      out_.field("maxLength", schema.most);
  }

  void object(const Schema& schema) {
    out_.field("type", "object").field("additionalProperties", false);
    out_.key("properties").begin_object();
    for (const Field& field : schema.fields) {
      out_.key(field.name);
      write_schema(*field.schema);
    }
    out_.end_object();
    out_.key("required").begin_array();
    for (const Field& field : schema.fields) {
      if (field.required) out_.value(field.name);
    }
    out_.end_array();
  }

  void components() {
    out_.key("components").begin_object().key("schemas").begin_object();
    // Writing one may name others: go on until all that is named is written.
    std::set<std::string_view> written;
    for (bool more = true; more;) {
      more = false;
      const auto known = named_;
      for (const auto& [name, schema] : known) {
        if (!written.insert(name).second) continue;
        out_.key(name);
        write_body(*schema);
        more = true;
      }
    }
    out_.end_object();
    if (options_.token) {
      out_.key("securitySchemes").begin_object().key(token_scheme).begin_object();
      out_.field("type", "http").field("scheme", "bearer").end_object().end_object();
    }
    out_.end_object();
  }

  bool needs_token(const Route& route) const { return options_.token && holds_data(route); }

  static constexpr std::string_view token_scheme = "internal_token";
  static constexpr std::string_view problem_media = "application/problem+json";

  RouteSet routes_;
  const OpenApiOptions& options_;
  JsonWriter out_;
  std::map<std::string_view, const Schema*> named_;
};

}  // namespace

std::string openapi_document(const RouteSet& routes, const OpenApiOptions& options) {
  return Document(routes, options).write();
}

}  // namespace txcoord::http
