// The shape that the tests of participants run in: in this process, or (TXC_SHAPE=apart) behind a
// real HTTP server on loopback, spoken to by the coordinator's client. The same tests, both ways.
#pragma once

#include <boost/asio/io_context.hpp>

#include "participants/inventory/inventory.hpp"
#include "participants/order/order.hpp"
#include "participants/payment/payment.hpp"
#include "participants/shipping/shipping.hpp"

namespace txcoord::test {

// The parts as they came, or remote ones that keep them. They go before `io` goes.
OrderParts in_shape(boost::asio::io_context& io, OrderParts parts);
InventoryParts in_shape(boost::asio::io_context& io, InventoryParts parts);
PaymentParts in_shape(boost::asio::io_context& io, PaymentParts parts);
ShippingParts in_shape(boost::asio::io_context& io, ShippingParts parts);

// Card intents are asked about at once.
PaymentParts without_intent_age(PaymentParts parts);

}  // namespace txcoord::test
