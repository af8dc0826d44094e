// Settings: where a value comes from, what is refused, and what is never shown.
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "txcoord/base/settings.hpp"

using namespace txcoord;

namespace {

using Flags = std::map<std::string, std::string>;

// A file with the text, gone with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    std::string name =
        (std::filesystem::temp_directory_path() / "txcoord-settings-XXXXXX").string();
    const int handle = ::mkstemp(name.data());
    REQUIRE(handle >= 0);
    ::close(handle);
    path_ = name;
    std::ofstream(path_) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A variable, set while the object lives.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)) {
    ::setenv(name_.c_str(), value.c_str(), 1);
  }
  ~Variable() { ::unsetenv(name_.c_str()); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  std::string name_;
};

const std::string databases = R"(
[log]
dsn = "host=/tmp dbname=log"
[participants.order]
dsn = "host=/tmp dbname=order"
[participants.inventory]
dsn = "host=/tmp dbname=inventory"
[participants.payment]
dsn = "host=/tmp dbname=payment"
[participants.shipping]
dsn = "host=/tmp dbname=shipping"
)";

Settings load(const std::string& text, const Flags& flags = {}) {
  const TemporaryFile file(text + databases);
  return load_settings(file.path(), flags);
}

std::string refusal(const std::string& text, const Flags& flags = {}) {
  try {
    load(text, flags);
  } catch (const SettingsError& error) {
    return error.what();
  }
  return "";
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a flag wins over the environment, that over the file, that over the default") {
  CHECK(load("").http.port == 8080);
  CHECK(load("[http]\nport = 1\n").http.port == 1);
  const Variable variable("TXCOORD_HTTP_PORT", "2");
  CHECK(load("[http]\nport = 1\n").http.port == 2);
  CHECK(load("[http]\nport = 1\n", {{"http.port", "3"}}).http.port == 3);
}

TEST_CASE("the short names of the ports work, and the full ones win") {
  const Variable port("TXCOORD_PORT", "9000");
  const Variable admin("TXCOORD_ADMIN_PORT", "9001");
  CHECK(load("").http.port == 9000);
  CHECK(load("").http.admin_port == 9001);
  const Variable full("TXCOORD_HTTP_PORT", "9100");
  CHECK(load("").http.port == 9100);
}

TEST_CASE("a wrong value is told by the variable that a person has set") {
  const Variable port("TXCOORD_PORT", "http");
  CHECK(holds(refusal(""), "TXCOORD_PORT must be a whole number"));
}

TEST_CASE("every database can come from a file named in the environment") {
  const TemporaryFile secret("host=db password=s3cret\n");
  const Variable variable("TXCOORD_PARTICIPANTS_PAYMENT_DSN_FILE", secret.path());
  CHECK(load("").participants.at("payment").dsn == "host=db password=s3cret");
  const Variable direct("TXCOORD_PARTICIPANTS_PAYMENT_DSN", "host=other");
  CHECK(holds(refusal(""), "both set: unset one"));
}

TEST_CASE("a secret's file that is not there is told by its variable") {
  const Variable variable("TXCOORD_LOG_DSN_FILE", "/nonexistent/secret");
  CHECK(holds(refusal(""), "TXCOORD_LOG_DSN_FILE"));
}

TEST_CASE("unknown keys are errors that name the nearest known one") {
  CHECK(holds(refusal("defualt_mode = \"2pc\"\n"),
              "defualt_mode is not a setting (line 1): did you mean default_mode?"));
  CHECK(holds(refusal("[http]\nprot = 1\n"),
              "http.prot is not a setting (line 2): did you mean http.port?"));
  CHECK(holds(refusal("", {{"htp.port", "1"}}),
              "flag htp.port is not a setting: did you mean http.port?"));
  const Variable variable("TXCOORD_HTTP_PROT", "1");
  CHECK(holds(refusal(""), "TXCOORD_HTTP_PROT is not a setting: did you mean TXCOORD_HTTP_PORT?"));
}

TEST_CASE("variables of the scripts around the program are left alone") {
  const Variable state("TXCOORD_STATE_DIR", "/tmp");
  CHECK(refusal("").empty());
}

TEST_CASE("values of the wrong kind or out of bounds are told with what would be right") {
  CHECK(
      holds(refusal("[http]\nport = 65536\n"), "http.port must be a whole number from 0 to 65535"));
  CHECK(holds(refusal("[http]\nport = -1\n"), "http.port must be a whole number"));
  CHECK(holds(refusal("[http]\nport = \"80\"\n"), "http.port must be a whole number"));
  CHECK(holds(refusal("[http]\nport = 1.5\n"), "http.port must be a whole number"));
  CHECK(holds(refusal("", {{"http.port", "80x"}}), "flag http.port must be a whole number"));
  CHECK(holds(refusal("[engine]\ntrim = 1\n"), "engine.trim must be true or false"));
  CHECK(holds(refusal("default_mode = 2\n"), "default_mode must be a string"));
  CHECK(holds(refusal("http = 1\n"), "http must be a table: [http]"));
  CHECK(holds(refusal("[http\n"), "line 1"));
}

TEST_CASE("settings that contradict each other are refused with both names") {
  CHECK(
      holds(refusal("coordinator_id = \"C-1\"\n"), "coordinator_id must be 1 to 8 of a-z and 0-9"));
  CHECK(holds(refusal("default_mode = \"3pc\"\n"), "default_mode must be 2pc or saga"));
  CHECK(holds(refusal("currency = \"yen\"\n"), "currency must be"));
  CHECK(holds(refusal("log_level = \"loud\"\n"), "log_level must be"));
  CHECK(holds(refusal("[http]\nport = 9\nadmin_port = 9\n"),
              "http.admin_port must differ from http.port"));
  CHECK(holds(refusal("[engine]\nkeys_keep_s = 3600\n"),
              "engine.keys_keep_s must be a whole number from 86400"));
  CHECK(holds(refusal("[engine]\nvote_ms_max = 20000\n"),
              "idle_in_transaction_ms_max is 15000: it must be above"));
  CHECK(holds(refusal("[engine]\nlease_ms = 1000\n"), "engine.lease_ms must be at least twice"));
}

TEST_CASE("a database without a connection string is told with every way to give one") {
  try {
    load_settings({}, {});
    FAIL("loaded without any database");
  } catch (const SettingsError& error) {
    CHECK(holds(error.what(), "log.dsn is not set"));
    CHECK(holds(error.what(), "TXCOORD_LOG_DSN_FILE"));
  }
}

TEST_CASE("a file that cannot be read is told by its path") {
  CHECK_THROWS_AS(load_settings("/nonexistent.toml", {}), SettingsError);
}

TEST_CASE("describe shows every setting and hides passwords") {
  const std::string text =
      describe(load("", {{"log.dsn", "host=db user=u password='s3 cret' dbname=log"}}));
  CHECK(holds(text, "port = 8080"));
  CHECK(holds(text, "[participants.shipping]"));
  CHECK(holds(text, R"(dsn = "host=db dbname=log user=u password=***")"));
  CHECK_FALSE(holds(text, "cret"));
}

TEST_CASE("what describe writes can be loaded") {
  const TemporaryFile file(describe(load("")));
  CHECK(describe(load_settings(file.path(), {})) == describe(load("")));
}

TEST_CASE("describe shows neither a token nor what a url should not hold") {
  const std::string text = describe(
      load("", {{"internal_token", "s3cret"}, {"participants.order.url", "http://u:s3cret@h:80"}}));
  CHECK(holds(text, R"(internal_token = "***")"));
  CHECK_FALSE(holds(text, "s3cret"));
}

TEST_CASE("a secret that is empty is refused by its name, and opens nothing") {
  const TemporaryFile blank(" \n");
  {
    const Variable variable("TXCOORD_INTERNAL_TOKEN_FILE", blank.path());
    CHECK(holds(refusal(""), "TXCOORD_INTERNAL_TOKEN_FILE: the file it names is empty"));
  }
  {
    const Variable variable("TXCOORD_INTERNAL_TOKEN", "");
    CHECK(holds(refusal(""), "TXCOORD_INTERNAL_TOKEN is empty"));
  }
  {
    const Variable variable("TXCOORD_LOG_DSN", " ");
    CHECK(holds(refusal(""), "TXCOORD_LOG_DSN is empty"));
  }
  CHECK(holds(refusal("", {{"internal_token", ""}}), "flag internal_token is empty"));
  CHECK(holds(refusal("internal_token = \" \"\n"), "internal_token must consist of visible"));
  CHECK(holds(refusal("internal_token = \"a b\"\n"), "internal_token must consist of visible"));
}

TEST_CASE("Kubernetes' variables of services named like us are passed over") {
  const Variable host("TXCOORD_SERVICE_HOST", "10.96.12.3");
  const Variable port("TXCOORD_SERVICE_PORT", "8080");
  const Variable named("TXCOORD_SERVICE_PORT_WEB", "8080");
  const Variable link("TXCOORD_PORT", "tcp://10.96.12.3:8080");
  const Variable whole("TXCOORD_PORT_8080_TCP", "tcp://10.96.12.3:8080");
  const Variable proto("TXCOORD_PORT_8080_TCP_PROTO", "tcp");
  const Variable number("TXCOORD_PORT_8080_TCP_PORT", "8080");
  const Variable address("TXCOORD_PORT_8080_TCP_ADDR", "10.96.12.3");
  const Variable other("TXCOORD_HTTP_SERVICE_HOST", "10.96.12.4");
  const Variable other_link("TXCOORD_HTTP_PORT", "tcp://10.96.12.4:80");
  const Variable admin_link("TXCOORD_ADMIN_PORT", "udp://10.96.12.5:80");
  CHECK(refusal("").empty());
  CHECK(load("").http.port == 8080);
  const Variable close("TXCOORD_PORT_8080_TPC", "tcp://10.96.12.3:8080");
  CHECK(holds(refusal(""), "TXCOORD_PORT_8080_TPC is not a setting"));
}

TEST_CASE("a variable with our prefix that is no setting is refused by its own name") {
  {
    const Variable variable("TXCOORD_INTERNAL_TOKN", "s3cret");
    CHECK(holds(refusal(""),
                "TXCOORD_INTERNAL_TOKN is not a setting: did you mean TXCOORD_INTERNAL_TOKEN?"));
    CHECK_FALSE(holds(refusal(""), "s3cret"));
  }
  {
    const Variable variable("TXCOORD_PARTICIPANT_ORDER_DSN", "x");
    CHECK(holds(refusal(""), "did you mean TXCOORD_PARTICIPANTS_ORDER_DSN?"));
  }
  const Variable token("TXCOORD_INTERNAL_TOKEN", "tcp://not-an-address-but-a-token");
  CHECK(load("").internal_token == "tcp://not-an-address-but-a-token");
}

TEST_CASE("every variable of the project's own scripts is left alone") {
  for (const char* name :
       {"TXCOORD_ROOT", "TXCOORD_BIN", "TXCOORD_DEPS_DIR", "TXCOORD_STATE_DIR", "TXCOORD_PG_BINDIR",
        "TXCOORD_PG_USER", "TXCOORD_SKIP_DEPS", "TXCOORD_BENCH_LOAD", "TXCOORD_BENCH_ONE_DATABASE",
        "TXCOORD_JOBS", "TXCOORD_TEST_JOBS", "TXCOORD_PROMETHEUS_URL", "TXCOORD_DASHBOARDS"}) {
    const Variable variable(name, "1");
    CAPTURE(name);
    CHECK(refusal("").empty());
  }
}

TEST_CASE("what is put in the place of a name or of a text's quotes is not repeated") {
  CHECK_FALSE(holds(refusal("", {{"postgresql://u:s3cret@h/d?sslmode", "x"}}), "s3cret"));
  CHECK(holds(refusal("internal_token = truS3cret\n"), "line 1"));
  CHECK_FALSE(holds(refusal("internal_token = truS3cret\n"), "truS"));
}
