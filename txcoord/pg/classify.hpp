// The one function that turns libpqxx's exceptions into a Failure (design: "in doubt is a value").
#pragma once

#include <exception>

#include "txcoord/base/failure.hpp"

namespace txcoord::pg {

// Call inside a catch block's exception (std::current_exception()). Never throws.
//  - pqxx::broken_connection while executing, in_doubt_error: unavailable, outcome_unknown = true
//  - failure to connect: unavailable, outcome_unknown = false (nothing was sent)
//  - sql_error by SQLSTATE as FailureKind's comments say; outcome_unknown = false for an ERROR,
//  true for
//    what ends the session (57P01 admin_shutdown and the like may arrive after the commit took
//    effect)
// The message is the first line only, without values: rows may hold personal data.
Failure classify(const std::exception_ptr& error);

}  // namespace txcoord::pg
