// See participant_rest.hpp.
#include "txcoord/http/participant_rest.hpp"

#include <algorithm>
#include <utility>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/http/openapi.hpp"

namespace txcoord::http {
namespace {

ServiceDependencies services_of(const ParticipantRest::HostedByName& all,
                                const Settings& settings) {
  ServiceDependencies services{.settings = settings};
  for (const auto& [name, hosted] : all) {
    if (hosted.orders != nullptr) services.orders = hosted.orders;
    if (hosted.inventory != nullptr) services.inventory = hosted.inventory;
    if (hosted.payments != nullptr) services.payments = hosted.payments;
    if (hosted.shipping != nullptr) services.shipping = hosted.shipping;
  }
  return services;
}

std::vector<std::string> names_of(const ParticipantRest::HostedByName& all) {
  std::vector<std::string> names;
  for (const auto& [name, hosted] : all) names.push_back(name);
  return names;
}

OpenApiOptions described(const ParticipantRest::HostedByName& all, const Settings& settings,
                         Port port) {
  OpenApiOptions options;
  options.title = "txcoord participant:";
  for (const auto& [name, hosted] : all) options.title += " " + name;
  options.note =
      " This is one service alone: what is committed in its database, and nothing that is decided "
      "and not applied yet. The branch protocol on the same port is described in "
      "docs/participant-protocol.md.";
  options.token = !settings.internal_token.empty();
  options.port = port;
  return options;
}

}  // namespace

ParticipantRest::ParticipantRest(const asio::any_io_executor& io, const HostedByName& hosted,
                                 const Settings& settings, std::uint32_t body_bytes_max,
                                 Metrics& metrics, Health health)
    : metrics_(metrics),
      health_(std::move(health)),
      services_(io, services_of(hosted, settings)),
      openapi_(openapi_document(participant_routes(names_of(hosted)),
                                described(hosted, settings, Port::open))),
      admin_openapi_(openapi_document(participant_routes(names_of(hosted)),
                                      described(hosted, settings, Port::admin))),
      dispatcher_(surface(hosted, settings.internal_token, body_bytes_max), settings.http,
                  metrics) {}

// The same data is behind the token in the branch protocol: here must be no way round it.
Surface ParticipantRest::surface(const HostedByName& hosted, std::string token,
                                 std::uint32_t body_bytes_max) {
  return {.routes = participant_routes(names_of(hosted)),
          .handle = [this](Call& call) { return answer(call); },
          .token = std::move(token),
          .body_bytes_max = body_bytes_max};
}

asio::awaitable<Reply> ParticipantRest::answer(Call& call) {
  switch (call.route->endpoint) {
    case Endpoint::metrics: co_return metrics_reply(call, metrics_);
    case Endpoint::live: co_return live_reply();
    case Endpoint::openapi:
      co_return json_reply(call.port == Port::admin ? admin_openapi_ : openapi_);
    case Endpoint::participant_ready: break;
    default: {
      auto handling = services_.handle(call);
      co_return co_await std::move(handling);
    }
  }
  auto asking = ready(call);
  co_return co_await std::move(asking);
}

asio::awaitable<Reply> ParticipantRest::ready(const Call& call) {
  auto asking = health_();
  const auto databases = co_await std::move(asking);
  const bool is_ready = std::all_of(databases.begin(), databases.end(),
                                    [](const DatabaseHealth& one) { return one.reachable; });
  JsonWriter out;
  out.begin_object().field("status", is_ready ? "ready" : "not_ready");
  if (call.query_says("verbose")) {
    out.key("participants").begin_array();
    for (const DatabaseHealth& one : databases) {
      out.begin_object()
          .field("name", one.participant)
          .field("reachable", one.reachable)
          .field_if("last_error", one.last_error)
          .end_object();
    }
    out.end_array();
  }
  out.end_object();
  co_return readiness_reply(out.take(), is_ready);
}

}  // namespace txcoord::http
