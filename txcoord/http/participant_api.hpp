// A participant's service over HTTP: the participant protocol; everything else is its REST's.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>

#include "participants/remote/participant_host.hpp"
#include "txcoord/http/message.hpp"
#include "txcoord/metrics/metrics.hpp"

namespace txcoord::http {

class ParticipantApi {
 public:
  // Whoever answers what is not the protocol: ParticipantRest.
  using Rest = std::function<asio::awaitable<Reply>(const Request&)>;

  // `token`: what callers of the protocol must bear; empty: nothing. The references outlive it.
  ParticipantApi(remote::ParticipantHost& host, Metrics& metrics, std::string token, Rest rest);

  // Never throws.
  asio::awaitable<Reply> handle(const Request& request);

 private:
  asio::awaitable<Reply> call(const Request& request, std::string_view path);

  remote::ParticipantHost& host_;
  Metrics& metrics_;
  std::string token_;
  Rest rest_;
};

}  // namespace txcoord::http
