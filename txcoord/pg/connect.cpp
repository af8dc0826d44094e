// See connect.hpp.
#include "txcoord/pg/connect.hpp"

#include <poll.h>
#if __has_include(<libpq-fe.h>)
#include <libpq-fe.h>
#else
#include <postgresql/libpq-fe.h>  // Debian's and Ubuntu's place
#endif

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "txcoord/base/failure.hpp"

namespace txcoord::pg {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// How often a connect that waits for a silent server looks whether it was given up.
constexpr milliseconds give_up_poll{50};

// What ends a try: the next host would be asked the same, and the answer is a person's to change.
constexpr std::string_view refusals[] = {"08P01", "22023", "28000", "28P01",
                                         "3D000", "42501", "42704"};

struct Host {
  std::string name, address, port;  // empty: libpq's default
};

// Why one address did not do.
struct Trouble {
  std::string words, sqlstate;
  bool wrong_dsn = false;
};

std::string text_of(const DsnParameters& parameters, const char* keyword) {
  const auto found = parameters.find(keyword);
  return found == parameters.end() ? std::string() : found->second;
}

// What libpq would take from its environment (PGHOST and the like), where the string says nothing.
DsnParameters with_defaults(DsnParameters parameters) {
  PQconninfoOption* const defaults = PQconndefaults();
  if (defaults == nullptr) return parameters;
  for (const PQconninfoOption* option = defaults; option->keyword != nullptr; ++option) {
    const std::string_view keyword = option->keyword;
    const bool ours = keyword == "host" || keyword == "hostaddr" || keyword == "port" ||
                      keyword == "connect_timeout" || keyword == "target_session_attrs" ||
                      keyword == "load_balance_hosts";
    if (ours && option->val != nullptr) parameters.emplace(option->keyword, option->val);
  }
  PQconninfoFree(defaults);
  return parameters;
}

// A service's file names its hosts, and only libpq reads it: then it chooses among them.
std::vector<Host> hosts_of(const DsnParameters& parameters) {
  if (parameters.contains("service")) return {Host{}};
  const auto names = dsn_list(text_of(parameters, "host"));
  const auto addresses = dsn_list(text_of(parameters, "hostaddr"));
  const auto ports = dsn_list(text_of(parameters, "port"));
  const bool by_address = !text_of(parameters, "hostaddr").empty();
  const std::size_t count = by_address ? addresses.size() : names.size();
  const bool named = !text_of(parameters, "host").empty();
  if ((by_address && named && names.size() != count) || (ports.size() > 1 && ports.size() != count))
    throw ConnectFailure("the DSN's lists of hosts, addresses and ports differ in length", {},
                         true);
  std::vector<Host> hosts;
  for (std::size_t i = 0; i < count; ++i)
    hosts.push_back({named ? names[i] : "", by_address ? addresses[i] : "",
                     ports.size() == 1 ? ports[0] : ports[i]});
  if (text_of(parameters, "load_balance_hosts") == "random")
    std::shuffle(hosts.begin(), hosts.end(), std::mt19937(std::random_device{}()));
  return hosts;
}

bool is_socket(const std::string& name) {
  return name.empty() || name.starts_with('/') || name.starts_with('@');
}

// "db-1:5432 (10.0.0.7)".
std::string place(const Host& host, const std::string& address) {
  const std::string& name = host.name.empty() ? address : host.name;
  std::string text = name.empty() ? "the default host" : shown_host(name);
  if (!host.port.empty() && host.port.find_first_not_of("0123456789") == std::string::npos)
    text += ":" + host.port;
  if (!host.name.empty() && !address.empty() && address != host.name)
    text += " (" + shown_host(address) + ")";
  return text;
}

// Waits until the socket is ready. False when the time is up or the caller gave up.
bool wait_for_socket(int socket, short events, Clock::time_point deadline,
                     const std::atomic<bool>* give_up) {
  while (give_up == nullptr || !give_up->load()) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    pollfd descriptor{socket, events, 0};
    const int ready =
        ::poll(&descriptor, 1, static_cast<int>(std::min(left, give_up_poll).count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
  return false;
}

// A server's refusal reads "FATAL:  28P01: its words" (PQERRORS_VERBOSE), in the server's language.
// The code is taken, and the words are left: they quote what the server was asked for.
std::string sqlstate_in(std::string_view message, std::string_view& words) {
  constexpr std::size_t code = 5;
  for (std::size_t at = message.find(":  "); at != std::string_view::npos;
       at = message.find(":  ", at + 1)) {
    const std::string_view rest = message.substr(at + 3);
    const bool is_code = rest.size() > code && rest[code] == ':' &&
                         std::ranges::all_of(rest.substr(0, code), [](unsigned char c) {
                           return std::isdigit(c) != 0 || (c >= 'A' && c <= 'Z');
                         });
    if (!is_code) continue;
    words = rest.substr(code + 1);
    return std::string(rest.substr(0, code));
  }
  return {};
}

Trouble trouble_of(PGconn* connection, const DsnParameters& parameters, bool started) {
  const char* const raw = PQerrorMessage(connection);
  const std::string_view message = raw == nullptr ? "" : raw;
  std::string_view words;
  std::string sqlstate = sqlstate_in(message, words);
  if (!sqlstate.empty()) {
    const bool wrong = std::ranges::find(refusals, sqlstate) != std::end(refusals);
    std::string text(words_of_sqlstate(sqlstate));
    // PgBouncer's words, without `ignore_startup_parameters = options`.
    if (words.find("unsupported startup parameter") != std::string_view::npos)
      text =
          "a pooler does not let sessions ask for their settings (unsupported startup parameter)";
    if (text.empty()) text = "the server refuses the session";
    return {text + " (SQLSTATE " + sqlstate + ")", std::move(sqlstate), wrong};
  }
  if (PQconnectionNeedsPassword(connection) != 0)
    return {"the server asks for a password, and the DSN gives none", "28P01", true};
  // What libpq refuses before it looks for the server is a value of the string.
  constexpr std::string_view looked = "connection to server", failed = " failed: ";
  const bool wrong = !started && !message.starts_with(looked);
  std::string text = message.empty() ? "connection failed" : shown_message(parameters, message);
  // Where it looked is said already.
  if (const std::size_t end = text.find(failed);
      text.starts_with(looked) && end != std::string::npos)
    text.erase(0, end + failed.size());
  return {std::move(text), {}, wrong};
}

// One address. Null, and why, when it did not do by the time.
RawConnection try_one(const DsnParameters& parameters, Clock::time_point until,
                      const std::atomic<bool>* give_up, Trouble& trouble) {
  std::vector<const char*> keys, values;
  for (const auto& [key, value] : parameters) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  RawConnection connection(PQconnectStartParams(keys.data(), values.data(), /*expand_dbname=*/0));
  if (connection == nullptr) throw ConnectFailure("out of memory");
  PGconn* const raw = connection.get();
  // Notices may quote data: not for our stderr.
  PQsetNoticeProcessor(
      raw, [](void*, const char*) {}, nullptr);
  PQsetErrorVerbosity(raw, PQERRORS_VERBOSE);
  if (PQstatus(raw) == CONNECTION_BAD) {
    trouble = trouble_of(raw, parameters, /*started=*/false);
    return nullptr;
  }
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  while (status != PGRES_POLLING_OK) {
    const short events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    if (!wait_for_socket(PQsocket(raw), events, until, give_up)) {
      trouble = {"no answer in time", {}, false};
      return nullptr;
    }
    status = PQconnectPoll(raw);
    if (status == PGRES_POLLING_FAILED) {
      trouble = trouble_of(raw, parameters, /*started=*/true);
      return nullptr;
    }
  }
  PQsetErrorVerbosity(raw, PQERRORS_DEFAULT);
  // PQconnectStart leaves the socket blocking for PQexec: what follows blocks, as pool.hpp
  // expects.
  return connection;
}

// The whole of a try, host by host.
class Try {
 public:
  Try(const DsnParameters& parameters, const std::atomic<bool>* give_up, HostNames& names)
      : parameters_(with_defaults(parameters)), give_up_(give_up), names_(names) {
    int seconds = 0;
    const std::string text = text_of(parameters_, "connect_timeout");
    std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (seconds > 0) address_time_max_ = std::chrono::seconds(seconds);
  }

  RawConnection run(Clock::time_point deadline) {
    const std::vector<Host> hosts = hosts_of(parameters_);
    std::vector<std::string> rounds = {text_of(parameters_, "target_session_attrs")};
    if (rounds.front() == "prefer-standby") rounds = {"standby", "any"};
    std::size_t left = hosts.size() * rounds.size();
    for (const std::string& attributes : rounds) {
      for (const Host& host : hosts) {
        const auto now = Clock::now();
        const auto until = now + (deadline - now) / static_cast<int>(left--);
        if (RawConnection made = try_host(host, attributes, until)) return made;
        if (wrong_dsn_ || (give_up_ != nullptr && give_up_->load())) fail();
      }
    }
    fail();
  }

 private:
  RawConnection try_host(const Host& host, const std::string& attributes, Clock::time_point until) {
    std::vector<std::string> addresses = {host.address};
    if (host.address.empty() && !is_socket(host.name) && !is_numeric(host.name)) {
      HostAddresses found = names_.find(host.name, until, give_up_);
      if (found.numeric.empty()) {
        note(place(host, ""), {found.error, {}, false});
        return nullptr;
      }
      addresses = std::move(found.numeric);
      if (text_of(parameters_, "load_balance_hosts") == "random")
        std::shuffle(addresses.begin(), addresses.end(), std::mt19937(std::random_device{}()));
    }
    std::size_t left = addresses.size();
    for (const std::string& address : addresses) {
      const auto now = Clock::now();
      const auto share = now + (until - now) / static_cast<int>(left--);
      Trouble trouble;
      RawConnection made = try_one(for_one(host, address, attributes),
                                   std::min(share, now + address_time_max_), give_up_, trouble);
      if (made != nullptr) return made;
      note(place(host, address), std::move(trouble));
      if (wrong_dsn_) break;
    }
    return nullptr;
  }

  DsnParameters for_one(const Host& host, const std::string& address,
                        const std::string& attributes) const {
    DsnParameters one = parameters_;
    one.erase("load_balance_hosts");
    const auto set = [&one](const char* keyword, const std::string& value) {
      if (value.empty())
        one.erase(keyword);
      else
        one[keyword] = value;
    };
    if (one.contains("service")) return one;
    set("host", host.name);
    set("hostaddr", address);
    set("port", host.port);
    set("target_session_attrs", attributes);
    return one;
  }

  void note(const std::string& where, Trouble trouble) {
    if (!words_.empty()) words_ += "; ";
    words_.append(where).append(": ").append(trouble.words);
    if (!trouble.sqlstate.empty()) sqlstate_ = std::move(trouble.sqlstate);
    wrong_dsn_ = trouble.wrong_dsn;
  }

  [[noreturn]] void fail() const { throw ConnectFailure(words_, sqlstate_, wrong_dsn_); }

  DsnParameters parameters_;
  const std::atomic<bool>* give_up_;
  HostNames& names_;
  Clock::duration address_time_max_ = std::chrono::hours(24);
  std::string words_, sqlstate_;
  bool wrong_dsn_ = false;
};

}  // namespace

void ConnectionClose::operator()(pg_conn* connection) const { PQfinish(connection); }

RawConnection connect(const DsnParameters& parameters, Clock::time_point deadline,
                      const std::atomic<bool>* give_up, HostNames& names) {
  return Try(parameters, give_up, names).run(deadline);
}

}  // namespace txcoord::pg
