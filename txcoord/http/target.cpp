// See target.hpp.
#include "txcoord/http/target.hpp"

#include <boost/beast/core/string.hpp>

namespace txcoord::http {
namespace {

// Without its scheme; the target itself if it has none that is served here.
std::string_view after_scheme(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() > scheme.size() &&
        boost::beast::iequals(target.substr(0, scheme.size()), scheme))
      return target.substr(scheme.size());
  }
  return target;
}

}  // namespace

Target split_target(std::string_view target) {
  Target parts;
  if (!target.starts_with('/')) {
    const std::string_view rest = after_scheme(target);
    if (rest.size() != target.size()) {
      // The authority ends at the path, or at the query of a target without one.
      const std::size_t end = rest.find_first_of("/?");
      parts.authority = rest.substr(0, end);
      target = end == std::string_view::npos ? std::string_view() : rest.substr(end);
    }
  }
  const std::size_t mark = target.find('?');
  parts.path = target.substr(0, mark);
  if (mark != std::string_view::npos) parts.query = target.substr(mark + 1);
  if (parts.path.empty() && !parts.authority.empty()) parts.path = "/";
  return parts;
}

}  // namespace txcoord::http
