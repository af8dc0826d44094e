// A participant's service over HTTP: the participant protocol, and what says how the process is.
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
  // Whether the participants' databases answer; asked by /readyz.
  using Ready = std::function<asio::awaitable<bool>()>;

  // `token`: what callers of the protocol must bear; empty: nothing. The references outlive it.
  ParticipantApi(remote::ParticipantHost& host, Metrics& metrics, std::string token, Ready ready);

  // Never throws.
  asio::awaitable<Reply> handle(const Request& request);

 private:
  asio::awaitable<Reply> answer(const Request& request, std::string& route);
  asio::awaitable<Reply> call(const Request& request, std::string_view path);
  asio::awaitable<Reply> readiness();
  bool may_call(std::string_view authorization) const;

  remote::ParticipantHost& host_;
  Metrics& metrics_;
  std::string token_;
  Ready ready_;
};

}  // namespace txcoord::http
