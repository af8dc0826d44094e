// See bearer.hpp.
#include "txcoord/http/bearer.hpp"

#include <openssl/crypto.h>

#include <boost/beast/core/string.hpp>

namespace txcoord::http {

// In constant time: how long it takes says nothing about the token.
bool bears(std::string_view authorization, std::string_view token) {
  constexpr std::string_view scheme = "bearer ";
  if (token.empty()) return true;
  if (authorization.size() < scheme.size()) return false;
  const std::string_view given = authorization.substr(0, scheme.size());
  if (!boost::beast::iequals({given.data(), given.size()}, {scheme.data(), scheme.size()}))
    return false;
  authorization.remove_prefix(scheme.size());
  while (authorization.starts_with(' ')) authorization.remove_prefix(1);
  return authorization.size() == token.size() &&
         CRYPTO_memcmp(authorization.data(), token.data(), token.size()) == 0;
}

}  // namespace txcoord::http
