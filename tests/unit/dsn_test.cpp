// What of a connection string, and of what is said about it, may be shown.
#include "txcoord/base/dsn.hpp"

#include <catch2/catch_test_macros.hpp>

#include "txcoord/base/failure.hpp"

using namespace txcoord;

namespace {

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a connection string is shown in one form, and only what is known to be harmless") {
  CHECK(shown_dsn("user=u host=a,b port=1,2 dbname=d target_session_attrs=read-write") ==
        "host=a,b port=1,2 dbname=d user=u target_session_attrs=read-write");
  CHECK(shown_dsn("postgresql://u:p@h:5432/d") == "host=h port=5432 dbname=d user=u password=***");
  CHECK(shown_dsn("postgres://u@h/d?password=p&sslmode=require") ==
        "host=h dbname=d user=u sslmode=require password=***");
  CHECK(shown_dsn("postgresql:///d?host=/tmp") == "host=/tmp dbname=d");
  CHECK(shown_dsn("host=a sslpassword=b") == "host=a sslpassword=***");
  CHECK(shown_dsn("host=a options='-c my.secret=s'") == "host=a options=***");
  CHECK(shown_dsn("") == "");
}

TEST_CASE("no part of a password is shown, wherever a mistake puts it") {
  for (const char* dsn : {"password=s3cret",
                          "password = 's3cr\\'et b' host=d",
                          "password=s3cret\\ b host=c",
                          "password=s3cret b host=c",
                          "s3cret",
                          "password='s3cret host=a",
                          "host=a s3cret=b",
                          "postgresql://u:s3cret@x@h/d",
                          "postgresql://u:p@s3cret@h/d",
                          "postgresql://u:s3cret/p@h/d",
                          "postgresql://u:p/s3cret@h/d",
                          "postgresql://u:12/s3cret@h/d",
                          "postgresql://u:p:s3cret@h",
                          "postgresql://u:s3cr?et@h/d",
                          "postgresql://u:s3cret?x@h/d",
                          "postgresql://u:%s3cret@h/d",
                          "postgresql://u:p#s3cret@h/d",
                          "postgresql://u:1?s3cret=@h/d",
                          "postgresql://u@h/d?password=s3cret",
                          "postgresql://u@h/d?sslpassword=s3cret&x=y",
                          "host='a s3cret'",
                          "dbname='postgresql://u:s3cret@h/d'",
                          "dbname='password=s3cret'",
                          "passfile=/s3cret",
                          "sslmode=s3cret",
                          "target_session_attrs=s3cret",
                          "port=s3cret",
                          "service=s3cret",
                          "options=s3cret"}) {
    CAPTURE(dsn, shown_dsn(dsn));
    CHECK_FALSE(holds(shown_dsn(dsn), "3cr"));
  }
}

TEST_CASE("what libpq refuses is shown as such, without its text") {
  CHECK_FALSE(parse_dsn("host=a nonsense"));
  CHECK(holds(shown_dsn("host=a nonsense"), "not a valid connection string"));
  CHECK(holds(shown_dsn("postgresql://u:p@x@h/d"), "percent-encoded"));
}

TEST_CASE("libpq's words are shown without values that the shown form does not show") {
  const auto parameters = parse_dsn("host=db,/tmp dbname=d user=u password=s3cret").value();
  const auto shown = [&](const char* text) { return shown_message(parameters, text); };
  CHECK(shown("could not look up \"db\": no\nsecond line") == "could not look up \"db\": no");
  CHECK(shown("role \"u\" and \"s3cret\" and \"") == "role \"u\" and \"***\" and \"***\"");
  CHECK(shown("socket \"/tmp/.s.PGSQL.5432\" failed") == "socket \"/tmp/.s.PGSQL.5432\" failed");
  CHECK(shown("invalid value \"x\" for \"user\"") == "invalid value \"***\" for \"user\"");
  const auto broken = parse_dsn("postgresql://u:p@s3cret@db/d").value();
  CHECK(shown_message(broken, "no host \"s3cret@db\"") == "no host \"***\"");
}

TEST_CASE("a url is shown if it has no place for a secret") {
  CHECK(shown_url("http://payment:8081/base") == "http://payment:8081/base");
  CHECK(shown_url("") == "");
  for (const char* url : {"http://u:s3cret@h", "https://h/?token=s3cret", "s3cret"})
    CHECK_FALSE(holds(shown_url(url), "s3cret"));
}

TEST_CASE("a reader who may be anybody gets our own words for a failure") {
  const Failure refused{FailureKind::unavailable, false, "28P01", "user \"u\" s3cret"};
  CHECK(words_for_anybody(refused) ==
        "unavailable: the server refuses the role's password (SQLSTATE 28P01); see the log");
  CHECK(words_for_anybody({FailureKind::timeout, true, "", "s3cret"}) ==
        "timeout: it did not answer in time");
  CHECK(words_for_anybody({FailureKind::error, false, "<b>", "s3cret"}) ==
        "error: a defect, or a wrong configuration");
  CHECK(words_for_anybody({FailureKind::unavailable, false, "", "it is older", true}) ==
        "it is older");
}
