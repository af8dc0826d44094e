// The log's rows of lost sagas, in memory.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/call_script.hpp"
#include "txcoord/log/lost_saga_log.hpp"

namespace txcoord::testing {

class FakeLostSagaLog final : public LostSagaLog {
 public:
  std::map<std::string, LostSaga> rows;      // by saga id
  std::set<std::string> sagas, saga_orders;  // what the log knows
  std::vector<SagaRewrite> rewritten;
  bool away = false;

  asio::awaitable<Result<std::vector<std::string>>> unknown(
      std::vector<std::string> saga_ids) override {
    if (away) co_return unavailable();
    std::erase_if(saga_ids, [this](const std::string& id) { return sagas.contains(id); });
    co_return saga_ids;
  }
  asio::awaitable<Result<std::vector<std::string>>> orders_without_saga(
      std::vector<std::string> order_ids) override {
    if (away) co_return unavailable();
    std::erase_if(order_ids, [this](const std::string& id) { return saga_orders.contains(id); });
    co_return order_ids;
  }
  asio::awaitable<Result<bool>> put(LostSaga saga) override {
    if (away) co_return unavailable();
    const auto found = rows.find(saga.saga_id);
    if (found == rows.end()) {
      rows.emplace(saga.saga_id, std::move(saga));
      co_return true;
    }
    if (found->second.resolution.empty() || found->second.resolution == "by_itself")
      found->second = std::move(saga);
    co_return false;
  }
  asio::awaitable<Result<Done>> gone(std::string saga_id) override {
    if (away) co_return unavailable();
    const auto found = rows.find(saga_id);
    if (found != rows.end() && found->second.resolution.empty())
      found->second.resolution = "by_itself";
    co_return Done{};
  }
  asio::awaitable<Result<bool>> resolve(SagaOwner, SagaRewrite saga) override {
    if (away) co_return unavailable();
    const auto found = rows.find(saga.saga_id);
    if (found == rows.end() || !found->second.resolution.empty()) co_return false;
    found->second.resolution = saga.resolution;
    found->second.resolution_key = saga.resolution_key;
    sagas.insert(saga.saga_id);
    rewritten.push_back(std::move(saga));
    co_return true;
  }
  asio::awaitable<Result<std::optional<LostSaga>>> find(std::string saga_id) override {
    if (away) co_return unavailable();
    const auto found = rows.find(saga_id);
    if (found == rows.end()) co_return std::optional<LostSaga>{};
    co_return std::optional<LostSaga>{found->second};
  }
  asio::awaitable<Result<std::vector<LostSaga>>> of_order(std::string order_id) override {
    if (away) co_return unavailable();
    std::vector<LostSaga> found;
    for (const auto& [id, saga] : rows)
      if (saga.order_id == order_id && saga.resolution.empty()) found.push_back(saga);
    co_return found;
  }
  asio::awaitable<Result<std::vector<LostSaga>>> list(std::size_t limit,
                                                      std::string before) override {
    if (away) co_return unavailable();
    std::vector<LostSaga> found;
    for (auto row = rows.rbegin(); row != rows.rend() && found.size() < limit; ++row)
      if (row->second.resolution.empty() && (before.empty() || row->first < before))
        found.push_back(row->second);
    co_return found;
  }
  asio::awaitable<Result<std::size_t>> count() override {
    if (away) co_return unavailable();
    co_return static_cast<std::size_t>(
        std::ranges::count_if(rows, [](const auto& row) { return row.second.resolution.empty(); }));
  }
  asio::awaitable<Result<Done>> trim(std::chrono::seconds) override { co_return Done{}; }
};

}  // namespace txcoord::testing
