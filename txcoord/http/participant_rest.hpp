// A participant's own REST, beside the branch protocol: what its database alone can answer, with
// the coordinator's routes and documents, and how the process is. A reader sees what is committed
// in this database: between a decision and its COMMIT PREPARED that is the state before.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "participants/remote/participant_host.hpp"
#include "txcoord/http/dispatch.hpp"
#include "txcoord/http/service_api.hpp"
#include "txcoord/metrics/metrics.hpp"

namespace txcoord::http {

struct DatabaseHealth {
  std::string participant;
  bool reachable = false;
  std::string last_error;
};

class ParticipantRest {
 public:
  // Asked by /readyz: one for each participant in this process.
  using Health = std::function<asio::awaitable<std::vector<DatabaseHealth>>()>;
  // Participants by name, as ParticipantHost has them.
  using HostedByName = std::map<std::string, remote::Hosted, std::less<>>;

  // `settings.internal_token`: what readers and writers of data must bear; empty: nothing. Bodies
  // above `body_bytes_max` are refused, however long those of the protocol may be. The references
  // outlive it.
  ParticipantRest(const asio::any_io_executor& io, const HostedByName& hosted,
                  const Settings& settings, std::uint32_t body_bytes_max, Metrics& metrics,
                  Health health);
  ParticipantRest(const ParticipantRest&) = delete;  // its handlers point to it
  ParticipantRest& operator=(const ParticipantRest&) = delete;

  RequestHandler& handler() { return dispatcher_; }

 private:
  Surface surface(const HostedByName& hosted, std::string token, std::uint32_t body_bytes_max);
  asio::awaitable<Reply> answer(Call& call);
  asio::awaitable<Reply> ready(const Call& call);

  Metrics& metrics_;
  Health health_;
  ServiceApi services_;
  std::string openapi_, admin_openapi_;
  Dispatcher dispatcher_;
};

}  // namespace txcoord::http
