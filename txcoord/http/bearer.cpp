// See bearer.hpp.
#include "txcoord/http/bearer.hpp"

#include <openssl/crypto.h>

namespace txcoord::http {

// In constant time: how long it takes says nothing about the token.
bool bears(std::string_view authorization, std::string_view token) {
  constexpr std::string_view scheme = "Bearer ";
  if (token.empty()) return true;
  return authorization.size() == scheme.size() + token.size() &&
         authorization.starts_with(scheme) &&
         CRYPTO_memcmp(authorization.data() + scheme.size(), token.data(), token.size()) == 0;
}

}  // namespace txcoord::http
