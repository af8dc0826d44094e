#include "participants/request_age.hpp"

#include <stdexcept>

namespace txcoord {
namespace {

constexpr pg::Statement young_enough{"request_young_enough", R"(
  SELECT $1::timestamptz > clock_timestamp() - $2::bigint * interval '1 hour')"};

}  // namespace

void refuse_old(pg::Session& session, AskedAt asked_at) {
  const pqxx::result found = session.exec(young_enough, rfc3339(asked_at),
                                          static_cast<std::int64_t>(request_age_max.count()));
  if (!found.at(0).at(0).as<bool>())
    throw std::runtime_error("the request is older than its key is kept");
}

}  // namespace txcoord
