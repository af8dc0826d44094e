-- wrk's script for ./run bench: POST /v1/orders, each request with an Idempotency-Key of its own,
-- two different products and a random wallet. Settings come from the environment (bench.py):
--   BENCH_RUN         a name for this run: keys of two runs never meet
--   BENCH_SKU_PREFIX  products are <prefix>0 .. <prefix>(BENCH_PRODUCTS - 1)
--   BENCH_PRODUCTS, BENCH_WALLETS
--   BENCH_MODE        "2pc" or "saga"; unset: the server's default
-- Answers are counted by wrk (status) and by the coordinator's own metrics (status and reason):
-- a response() here would parse every answer in Lua, on the processors that are being measured.
local run = os.getenv("BENCH_RUN")
local sku_prefix = os.getenv("BENCH_SKU_PREFIX")
local products = tonumber(os.getenv("BENCH_PRODUCTS"))
local wallets = tonumber(os.getenv("BENCH_WALLETS"))

local mode = os.getenv("BENCH_MODE")

local threads = 0
function setup(thread)
  thread:set("thread_number", threads)
  threads = threads + 1
end

local sent = 0
local headers = { ["Content-Type"] = "application/json" }
local body = '{"customer_id":"bench-%d","items":[{"sku":"%s%d","quantity":1,"unit_price":100},'
  .. '{"sku":"%s%d","quantity":1,"unit_price":100}],"shipping_address":{"name":"Tanaka Taro",'
  .. '"postal_code":"150-0002","prefecture":"Tokyo","city":"Shibuya","line1":"2-21-1 Shibuya"},'
  .. '"payment_method":"wallet"' .. (mode and ',"mode":"' .. mode .. '"' or "") .. "}"

function init()
  math.randomseed(os.time() * 100 + thread_number)
end

function request()
  sent = sent + 1
  headers["Idempotency-Key"] = run .. "-" .. thread_number .. "-" .. sent
  local first = math.random(0, products - 1)
  local second = (first + math.random(1, products - 1)) % products
  return wrk.format("POST", "/v1/orders", headers,
    string.format(body, math.random(0, wallets - 1), sku_prefix, first, sku_prefix, second))
end

-- One line of JSON that bench.py looks for. wrk counts in microseconds.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'BENCH {"answers": %d, "seconds": %.3f, "not_2xx": %d, "connect_errors": %d, "read_errors": %d, '
      .. '"write_errors": %d, "timeouts": %d, "p50_ms": %.3f, "p90_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect, errors.read, errors.write,
    errors.timeout, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3))
end
