// One service behind a URL, for the participants that it serves: the HTTP link, the breaker, the
// token, and what silence means. I/O thread only.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "participants/remote/breaker.hpp"
#include "participants/remote/http_link.hpp"
#include "txcoord/base/failure.hpp"
#include "txcoord/base/json_reader.hpp"
#include "txcoord/base/json_writer.hpp"

namespace txcoord::remote {

inline constexpr std::string_view protocol_path = "/participant/v1/";
inline constexpr std::string_view timeout_header = "Txcoord-Timeout-Ms";
inline constexpr std::string_view request_id_header = "X-Request-ID";
// The service keeps the deadline; the caller waits a little longer for its word that it ran out.
inline constexpr std::chrono::milliseconds answer_margin{250};

struct CallRules {
  std::chrono::milliseconds time_max{1500};  // the service's; the caller's is above by the margin
  bool repeatable = false;                   // sent once more, over another connection
  bool unknown_if_silent = false;            // no answer: it may have been done
  bool may_lack_it = false;  // a service of an earlier version has no such call: `not_found`
};

// closed, half_open or open: as /readyz says it.
std::string_view state_word(BreakerState state);

class RemoteService {
 public:
  using OnBreaker = std::function<void(BreakerState)>;

  // `token`: empty: none.
  RemoteService(asio::any_io_executor io, Url url, std::string token, LinkLimits limits = {});

  // The answer's body; a failure as the service told it, or as its silence is to be taken. A call
  // that the breaker holds back was not sent. `correlation`: a gid, or a request's id.
  asio::awaitable<Result<boost::json::value>> call(std::string participant, std::string name,
                                                   std::string body, std::string correlation,
                                                   CallRules rules);

  const Url& url() const { return link_.url(); }
  BreakerState breaker() const { return breaker_.state(); }
  void on_breaker(OnBreaker hook) { on_breaker_.push_back(std::move(hook)); }

 private:
  asio::awaitable<Exchange> exchange(const std::string& path, const std::string& body,
                                     const std::string& correlation, CallRules rules);
  bool allowed();
  void note(const Exchange& exchange);
  void tell(BreakerState before);

  HttpLink link_;
  std::string token_;
  Breaker breaker_;
  std::vector<OnBreaker> on_breaker_;
};

// What an answered call's body says, by `read(reader)`; an answer that cannot be read is `error`,
// and unknown if silence were.
template <class Read>
auto read_answer(const Result<boost::json::value>& answer, CallRules rules, Read read)
    -> Result<decltype(read(std::declval<const JsonReader&>()))> {
  if (!answer) return answer.failure();
  try {
    return read(JsonReader("a participant's answer", answer.value()));
  } catch (const JsonReadError& unreadable) {
    return Failure{FailureKind::error, rules.unknown_if_silent, "", unreadable.what()};
  }
}

}  // namespace txcoord::remote
