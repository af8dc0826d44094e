// The children of a metric family, by their label values, on prometheus-cpp's core. Its Add()
// hashes label maps under a mutex, so each child is looked up there once and kept here.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "txcoord/metrics/declarations.hpp"
#include "txcoord/metrics/labels.hpp"

namespace txcoord::detail {

using Buckets = prometheus::Histogram::BucketBoundaries;
using Values = std::initializer_list<std::string_view>;

inline const MetricDeclaration& declaration_of(Family family) {
  return metric_declarations()[static_cast<std::size_t>(family)];
}

// One key of several label values; the separator is in none of them.
inline std::string key_of(Values values) {
  std::string key;
  for (const std::string_view value : values) key.append(value).push_back('\x1f');
  return key;
}

inline prometheus::Labels labels_of(const std::vector<std::string>& names, Values values) {
  prometheus::Labels labels;
  auto name = names.begin();
  for (const std::string_view value : values) labels.emplace(*name++, value);
  return labels;
}

inline std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> parts;
  while (!names.empty()) {
    const std::size_t comma = names.find(',');
    parts.emplace_back(names.substr(0, comma));
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
  }
  return parts;
}

// The children of one family, by their label values.
template <class Metric>
class Children {
 public:
  Children(prometheus::Registry& registry, Family family, const Buckets* buckets = nullptr)
      : Children(registry, declaration_of(family), buckets) {}

 private:
  Children(prometheus::Registry& registry, const MetricDeclaration& declaration,
           const Buckets* buckets)
      : label_names_(split_names(declaration.labels)),
        buckets_(buckets),
        family_(prometheus::detail::Builder<Metric>()
                    .Name(std::string(declaration.name))
                    .Help(std::string(declaration.help))
                    .Register(registry)) {
    if (label_names_.empty()) at({});  // shown as 0 from the start
  }

 public:
  Metric& at(Values values) {
    std::string key = key_of(values);
    {
      const std::shared_lock lock(mutex_);
      if (const auto found = children_.find(key); found != children_.end()) return *found->second;
    }
    const std::unique_lock lock(mutex_);
    const auto [place, fresh] = children_.try_emplace(std::move(key), nullptr);
    if (fresh) place->second = &make(values);
    return *place->second;
  }

 private:
  Metric& make(Values values) {
    const prometheus::Labels labels = labels_of(label_names_, values);
    if constexpr (std::is_same_v<Metric, prometheus::Histogram>) {
      return family_.Add(labels, *buckets_);
    } else {
      return family_.Add(labels);
    }
  }

  std::vector<std::string> label_names_;
  const Buckets* buckets_;
  prometheus::Family<Metric>& family_;
  std::shared_mutex mutex_;
  std::map<std::string, Metric*, std::less<>> children_;
};

// Gauges of what is looked at from time to time: there while it can be seen, and gone, not frozen
// at their last value, while it cannot. Nobody keeps a reference to one.
class SeenGauges {
 public:
  SeenGauges(prometheus::Registry& registry, Family family)
      : label_names_(split_names(declaration_of(family).labels)),
        family_(prometheus::BuildGauge()
                    .Name(std::string(declaration_of(family).name))
                    .Help(std::string(declaration_of(family).help))
                    .Register(registry)) {}

  void set(Values values, double seen) {
    const std::unique_lock lock(mutex_);
    auto& gauge = gauges_[key_of(values)];
    if (gauge == nullptr) gauge = &family_.Add(labels_of(label_names_, values));
    gauge->Set(seen);
  }

  void forget(Values values) {
    const std::unique_lock lock(mutex_);
    const auto found = gauges_.find(key_of(values));
    if (found == gauges_.end()) return;
    family_.Remove(found->second);
    gauges_.erase(found);
  }

 private:
  std::vector<std::string> label_names_;
  prometheus::Family<prometheus::Gauge>& family_;
  std::mutex mutex_;
  std::map<std::string, prometheus::Gauge*> gauges_;
};

// Values that are bounded by number because their set is known elsewhere (routes, codes).
class BoundedSet {
 public:
  explicit BoundedSet(std::size_t most) : most_(most) {}

  std::string_view admit(std::string_view value) {
    {
      const std::shared_lock lock(mutex_);
      if (values_.contains(value)) return value;
    }
    const std::unique_lock lock(mutex_);
    if (values_.size() >= most_ && !values_.contains(value)) return other_label;
    values_.emplace(value);
    return value;
  }

 private:
  std::size_t most_;
  std::shared_mutex mutex_;
  std::set<std::string, std::less<>> values_;
};

}  // namespace txcoord::detail
