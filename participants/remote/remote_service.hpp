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
#include "participants/remote/identity.hpp"
#include "txcoord/base/failure.hpp"
#include "txcoord/base/json_reader.hpp"
#include "txcoord/base/json_writer.hpp"

namespace txcoord::remote {

inline constexpr std::string_view protocol_path = "/participant/v1/";
inline constexpr std::string_view timeout_header = "Txcoord-Timeout-Ms";
inline constexpr std::string_view request_id_header = "X-Request-ID";
inline constexpr std::string_view answer_media_type = "application/json";
inline constexpr std::string_view failure_media_type = "application/problem+json";
// The service keeps the deadline; the caller waits a little longer for its word that it ran out.
inline constexpr std::chrono::milliseconds answer_margin{250};

struct CallRules {
  std::chrono::milliseconds time_max{1500};  // the service's; the caller's is above by the margin
  bool repeatable = false;                   // sent once more, over another connection
  bool unknown_if_silent = false;            // no answer: it may have been done
  bool may_lack_it = false;  // a service of an earlier version has no such call: `not_found`
};

// What is asked, beside its body.
struct Question {
  std::string participant, call;
  std::string gid;          // the body's, if it has one
  std::string correlation;  // the gid, or a request's id: for logs
};

// closed, half_open or open: as /readyz says it.
std::string_view state_word(BreakerState state);

class RemoteService {
 public:
  using OnBreaker = std::function<void(BreakerState)>;

  // `token`: empty: none.
  RemoteService(asio::any_io_executor io, Url url, std::string token, LinkLimits limits = {},
                Resolve resolve = resolve_by_system);

  // The answer's body; a failure as the service told it, or as its silence is to be taken. What
  // does not repeat the question, in the form of the protocol, is silence. A call that the breaker
  // holds back was not sent. `body`: a JSON object.
  asio::awaitable<Result<boost::json::value>> call(Question question, std::string body,
                                                   CallRules rules);

  const Url& url() const { return link_.url(); }
  BreakerState breaker() const { return breaker_.state(); }
  void on_breaker(OnBreaker hook) { on_breaker_.push_back(std::move(hook)); }

 private:
  // One try: what was heard.
  struct Heard {
    enum class Kind : std::uint8_t { answer, failure, not_sent, silence, late } kind;
    boost::json::value answer;
    Failure failure;  // as it was told; of a silence, its message alone
    int status = 0;   // of a failure
  };
  asio::awaitable<Heard> ask(const Question& question, const std::string& body, CallRules rules);
  static Heard hear(const Exchange& exchange, const Identity& identity);
  static FailureKind kind_of_silence(const Exchange& exchange);
  bool allowed();
  void note(const Heard& heard, const Question& question);
  void tell(BreakerState before);
  void explain_refusal(Heard& heard);

  HttpLink link_;
  std::string token_;
  Breaker breaker_;
  std::string last_silence_;  // why the breaker opened, or will
  std::chrono::steady_clock::time_point complained_{}, refusal_told_{};
  std::vector<OnBreaker> on_breaker_;
};

// What an answered call's body says, by `read(reader)`. An answer of another form is none: it is
// taken as silence is.
template <class Read>
auto read_answer(const Result<boost::json::value>& answer, CallRules rules, Read read)
    -> Result<decltype(read(std::declval<const JsonReader&>()))> {
  if (!answer) return answer.failure();
  try {
    return read(JsonReader("a participant's answer", answer.value()));
  } catch (const JsonReadError& unreadable) {
    return Failure{FailureKind::unreadable, rules.unknown_if_silent, "", unreadable.what()};
  }
}

}  // namespace txcoord::remote
