// A batch that failed is tried again in halves, so that the member that fails ends up alone.
#pragma once

#include <cstddef>
#include <iterator>
#include <utility>

namespace txcoord {

// Precondition: more than one in it. Neither half is empty.
template <class Batch>
std::pair<Batch, Batch> halves(Batch batch) {
  const auto middle = batch.begin() + static_cast<std::ptrdiff_t>(batch.size() / 2);
  Batch second(std::make_move_iterator(middle), std::make_move_iterator(batch.end()));
  batch.erase(middle, batch.end());
  return {std::move(batch), std::move(second)};
}

}  // namespace txcoord
