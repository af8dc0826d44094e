// Precompiled for what uses Asio, Beast or Boost.JSON. Never include this: a file includes what it
// uses, and must build with TXCOORD_PCH=OFF too.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
