// One connection to a database that a connection string describes, within a time.
//
// libpq's own connect_timeout works in its blocking functions alone, in whole seconds, and its
// asynchronous ones look up names blocking. So the hosts are taken from the list here, and libpq is
// given one address at a time:
//  1. Hosts are tried in the order of the list (in a random one with load_balance_hosts=random).
//     target_session_attrs is libpq's to judge at each; prefer-standby is two rounds.
//  2. The time that is left is shared equally by the hosts that are still to be tried, and a host's
//     share by its addresses. connect_timeout of the string makes an address's share shorter, never
//     longer. So a silent host is left, and whoever is tried last has all that the others left
//     over.
//  3. A host that refuses the role or the database ends the try, as it does for libpq.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <pqxx/except>
#include <string>

#include "txcoord/base/dsn.hpp"
#include "txcoord/pg/host_names.hpp"

struct pg_conn;  // libpq's PGconn

namespace txcoord::pg {

// The server could not be reached, or refused the session: none of our statements was sent. what()
// is for logs, in our words: hosts as far as they may be shown, and never what a server said.
class ConnectFailure : public pqxx::broken_connection {
 public:
  explicit ConnectFailure(const std::string& what, std::string sqlstate = {},
                          bool wrong_dsn = false)
      : pqxx::broken_connection(what), sqlstate_(std::move(sqlstate)), wrong_dsn_(wrong_dsn) {}

  const std::string& sqlstate() const { return sqlstate_; }  // what the server refused with
  // It will not pass by itself: the role, its password, the database, or the DSN is wrong.
  bool wrong_dsn() const { return wrong_dsn_; }

 private:
  std::string sqlstate_;
  bool wrong_dsn_ = false;
};

struct ConnectionClose {
  void operator()(pg_conn* connection) const;
};
using RawConnection = std::unique_ptr<pg_conn, ConnectionClose>;

// Blocks. Throws ConnectFailure by the deadline, or soon after `give_up` becomes true.
RawConnection connect(const DsnParameters& parameters,
                      std::chrono::steady_clock::time_point deadline,
                      const std::atomic<bool>* give_up, HostNames& names);

}  // namespace txcoord::pg
