// See openapi.hpp. Paths that the admin port serves carry the tag "admin".
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

// What any route may answer beside its own: too slow a request, too large a header, a wrong method,
// …
constexpr int common_problems[] = {405, 408, 431, 500, 503};

constexpr std::string_view common_description =
    "One order, atomic over four PostgreSQL databases. Money is int64 in minor units of the "
    "deployment's one currency; times are UTC, RFC 3339; errors are RFC 9457 problems.";

class Document {
 public:
  Document(const RouteSet& routes, const OpenApiOptions& options)
      : routes_(routes), options_(options) {}

  std::string write() {
    out_.begin_object().field("openapi", "3.1.0");
    out_.key("info")
        .begin_object()
        .field("title", options_.title)
        .field("version", version)
        .field("description", std::string(common_description) + options_.note)
        .end_object();
    out_.key("tags").begin_array();
    out_.begin_object()
        .field("name", "public")
        .field("description", "Served on the public port.")
        .end_object();
    out_.begin_object()
        .field("name", "admin")
        .field("description", "Served on the admin port (public port + 1 unless configured).")
        .end_object();
    out_.end_array();
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
    out_.key("tags").begin_array();
    if (route.ports != Ports::admin) out_.value("public");
    if (route.ports != Ports::open) out_.value("admin");
    out_.end_array();
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
    if (route.key_required) parameter("Idempotency-Key", "header", true, key_schema);
    parameter("X-Correlation-ID", "header", false, correlation_schema);
    parameter("traceparent", "header", false, traceparent_schema);
    if (route.key_required) parameter("Prefer", "header", false, prefer_schema);
    out_.end_array();
  }

  void parameter(std::string_view name, std::string_view in, bool required, const Schema& schema) {
    out_.begin_object().field("name", name).field("in", in).field("required", required);
    out_.key("schema");
    write_schema(schema);
    out_.end_object();
  }

  void responses(const Route& route) {
    out_.key("responses").begin_object();
    std::set<int> said;
    for (const Success& success : route.successes) {
      said.insert(success.status);
      out_.key(std::to_string(success.status))
          .begin_object()
          .field("description", success.description);
      if (success.schema != nullptr) content(success.media, success.schema);
      out_.end_object();
    }
    std::set<int> problems(std::begin(common_problems), std::end(common_problems));
    problems.insert(route.problems.begin(), route.problems.end());
    if (needs_token(route)) problems.insert(401);
    for (const int status : problems) {
      if (said.contains(status)) continue;
      out_.key(std::to_string(status))
          .begin_object()
          .field("description", "A problem; its reason says which.");
      content("application/problem+json", &schemas::problem);
      out_.end_object();
    }
    out_.end_object();
  }

  void content(std::string_view media, const Schema* schema) {
    out_.key("content").begin_object().key(media).begin_object().key("schema");
    write_schema(*schema);
    out_.end_object().end_object();
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
    out_.end_object();
  }

  void text(const Schema& schema) {
    out_.field("type", "string");
    if (!schema.choices.empty()) {
      out_.key("enum").begin_array();
      for (const std::string_view choice : schema.choices) out_.value(choice);
      out_.end_array();
      return;
    }
    switch (schema.rule) {
      case TextRule::free: break;
      case TextRule::visible: out_.field("pattern", "^[!-~]+$"); break;
      case TextRule::uuid: out_.field("format", "uuid"); break;
      case TextRule::time: out_.field("format", "date-time"); break;
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
  static constexpr Schema key_schema{.kind = SchemaKind::text,
                                     .description =
                                         "Bare or quoted. One key has one effect and one answer; "
                                         "another body under it is refused.",
                                     .least = 1,
                                     .most = 257,
                                     .rule = TextRule::visible};
  static constexpr Schema correlation_schema{.kind = SchemaKind::text,
                                             .description = "Echoed and logged; made if missing.",
                                             .least = 1,
                                             .most = 128,
                                             .rule = TextRule::visible};
  static constexpr Schema traceparent_schema{
      .kind = SchemaKind::text,
      .description = "W3C Trace Context. Echoed; made if missing.",
      .least = 55,
      .most = 55,
      .rule = TextRule::visible};
  static constexpr Schema prefer_schema{
      .kind = SchemaKind::text,
      .description =
          "applied: answer when every database has it. respond-async: 202 at once. wait=SECONDS.",
      .most = 200};

  const RouteSet& routes_;
  const OpenApiOptions& options_;
  JsonWriter out_;
  std::map<std::string_view, const Schema*> named_;
};

}  // namespace

std::string openapi_document(const RouteSet& routes, const OpenApiOptions& options) {
  return Document(routes, options).write();
}

}  // namespace txcoord::http
