// Who may have a connection to one port: bounds in all and for each peer, and a reserve in which
// health is answered while the port is full. Counts only; I/O thread only.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <map>

namespace txcoord::http {

enum class Admission : std::uint8_t {
  served,
  health_only,  // within the reserve: one short look at /livez, /readyz or /metrics
  turned_away,
};

class ConnectionShares {
 public:
  struct Limits {
    std::uint32_t all = 1, per_peer = 1;
  };
  ConnectionShares(Limits served, Limits reserve) : served_{served}, reserve_{reserve} {}

  // Each one that is not turned away is to leave() with what it was told.
  Admission admit(const boost::asio::ip::address& peer);
  void leave(const boost::asio::ip::address& peer, Admission admission);

 private:
  struct Share {
    Limits limits;
    std::uint32_t count = 0;
    std::map<boost::asio::ip::address, std::uint32_t> peers = {};

    bool take(const boost::asio::ip::address& peer);
    void give_back(const boost::asio::ip::address& peer);
  };

  Share served_, reserve_;
};

}  // namespace txcoord::http
