// Reads from several services at once, within one deadline: start all, then wait for all. A read
// that is late is left to end by its own deadline; its result goes to nobody.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "txcoord/base/failure.hpp"

namespace txcoord::http {

namespace asio = boost::asio;

namespace detail {

template <class... T>
struct Gathering {
  explicit Gathering(const asio::any_io_executor& io) : done(io) {}
  std::tuple<std::optional<Result<T>>...> results;
  std::size_t left = sizeof...(T);
  asio::steady_timer done;
};

template <std::size_t I, class State, class T>
asio::awaitable<void> gather_one(std::shared_ptr<State> state, asio::awaitable<Result<T>> call) {
  std::optional<Result<T>>& place = std::get<I>(state->results);
  try {
    place.emplace(co_await std::move(call));
  } catch (const std::exception& error) {
    place.emplace(Failure{.kind = FailureKind::error,
                          .outcome_unknown = true,
                          .sqlstate = {},
                          .message = error.what()});
  }
  if (--state->left == 0) state->done.cancel();
}

template <class State, std::size_t... I, class... T>
void gather_all(const asio::any_io_executor& io, const std::shared_ptr<State>& state,
                std::index_sequence<I...>, asio::awaitable<Result<T>>... calls) {
  (asio::co_spawn(io, gather_one<I, State, T>(state, std::move(calls)), asio::detached), ...);
}

template <class T>
Result<T> taken(std::optional<Result<T>>& result) {
  if (result) return std::move(*result);
  return Failure{.kind = FailureKind::timeout,
                 .outcome_unknown = true,
                 .sqlstate = {},
                 .message = "no answer in time"};
}

}  // namespace detail

// One result for each call, in order; timeout for each that was late.
template <class... T>
asio::awaitable<std::tuple<Result<T>...>> gather(asio::any_io_executor io,
                                                 std::chrono::milliseconds deadline,
                                                 asio::awaitable<Result<T>>... calls) {
  using State = detail::Gathering<T...>;
  auto state = std::make_shared<State>(io);
  state->done.expires_after(deadline);
  detail::gather_all(io, state, std::index_sequence_for<T...>{}, std::move(calls)...);
  if (state->left > 0) {
    boost::system::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await state->done.async_wait(token);
  }
  co_return std::apply(
      [](auto&... result) { return std::tuple<Result<T>...>(detail::taken(result)...); },
      state->results);
}

// The same for one call.
template <class T>
asio::awaitable<Result<T>> within(asio::any_io_executor io, std::chrono::milliseconds deadline,
                                  asio::awaitable<Result<T>> call) {
  auto gathering = gather<T>(io, deadline, std::move(call));
  auto results = co_await std::move(gathering);
  co_return std::move(std::get<0>(results));
}

}  // namespace txcoord::http
