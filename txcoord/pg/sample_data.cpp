#include "txcoord/pg/sample_data.hpp"

#include <stdexcept>

#include "txcoord/pg/classify.hpp"
#include "txcoord/pg/embedded_schemas.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::pg {

std::vector<std::string> load_sample(std::string_view name, const Settings& settings) {
  std::vector<std::string> loaded;
  for (const SchemaFile& file : embedded_samples()) {
    if (file.name != name) continue;
    const auto database = settings.participants.find(std::string(file.database));
    if (database == settings.participants.end()) continue;
    try {
      SessionSettings options;
      options.application_name = "txcoord_sample";
      Session session(database->second.dsn, options, std::chrono::milliseconds(5000));
      session.exec_simple("BEGIN");
      session.exec_simple(file.sql);
      session.exec_simple("COMMIT");
    } catch (const pqxx::failure&) {
      const Failure failure = classify(std::current_exception());
      throw std::runtime_error("database '" + std::string(file.database) + "', sample data " +
                               std::string(name) + ": " + failure.message);
    }
    loaded.emplace_back(file.database);
  }
  return loaded;
}

}  // namespace txcoord::pg
