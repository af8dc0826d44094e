// A participant's service over HTTP: the participant protocol; everything else is its REST's.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "participants/remote/participant_host.hpp"
#include "txcoord/http/door.hpp"
#include "txcoord/http/message.hpp"
#include "txcoord/metrics/metrics.hpp"

namespace txcoord::http {

class ParticipantApi final : public RequestHandler {
 public:
  // `token`: what callers of the protocol must bear; empty: nothing. `rest` answers what is not the
  // protocol (ParticipantRest's handler); null: nobody does, 404. What is referred to outlives it.
  ParticipantApi(remote::ParticipantHost& host, Metrics& metrics, const HttpSettings& settings,
                 std::string token, RequestHandler* rest);

  Judgement judge(const Request& request) override;
  asio::awaitable<Reply> handle(const Request& request) override;

 private:
  // Null: the request is the protocol's.
  RequestHandler* other(const Request& request) const;
  std::optional<Reply> answer_by_header(const Request& request) const;
  asio::awaitable<Reply> call(const Request& request);
  void finish(const Request& request, std::string_view correlation, double seconds, Reply& reply);

  remote::ParticipantHost& host_;
  Metrics& metrics_;
  std::uint64_t body_bytes_max_;
  Door door_;
  std::string token_;
  RequestHandler* rest_;
};

}  // namespace txcoord::http
