// See connection_shares.hpp.
#include "txcoord/http/connection_shares.hpp"

#include <algorithm>

namespace txcoord::http {
namespace {

namespace ip = boost::asio::ip;

// One peer is one IPv4 address, or one IPv6 network of 64 bits: a single machine has all of it.
ip::address peer_of(const ip::address& address) {
  if (!address.is_v6()) return address;
  const ip::address_v6 v6 = address.to_v6();
  if (v6.is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, v6);
  auto bytes = v6.to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), static_cast<unsigned char>(0));
  return ip::address_v6(bytes);
}

}  // namespace

bool ConnectionShares::Share::take(const ip::address& peer) {
  if (count >= limits.all) return false;
  const auto known = peers.find(peer);
  if (known != peers.end() && known->second >= limits.per_peer) return false;
  ++peers[peer];
  ++count;
  return true;
}

void ConnectionShares::Share::give_back(const ip::address& peer) {
  --count;
  if (const auto known = peers.find(peer); known != peers.end() && --known->second == 0)
    peers.erase(known);
}

Admission ConnectionShares::admit(const ip::address& address) {
  const ip::address peer = peer_of(address);
  if (served_.take(peer)) return Admission::served;
  return reserve_.take(peer) ? Admission::health_only : Admission::turned_away;
}

void ConnectionShares::leave(const ip::address& address, Admission admission) {
  if (admission == Admission::served) served_.give_back(peer_of(address));
  if (admission == Admission::health_only) reserve_.give_back(peer_of(address));
}

}  // namespace txcoord::http
