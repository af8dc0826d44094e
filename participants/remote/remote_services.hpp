// The services' own calls (reads, and changes of one database), spoken over HTTP to a service of
// its own (docs/participant-protocol.md). Threads and failures as in services.hpp.
#pragma once

#include <chrono>
#include <memory>

#include "participants/payment/card_settlement.hpp"
#include "participants/remote/remote_service.hpp"
#include "participants/services.hpp"

namespace txcoord::remote {

// `deadline`: of one call.
std::unique_ptr<OrderService> make_remote_order(std::shared_ptr<RemoteService> service,
                                                std::chrono::milliseconds deadline);
std::unique_ptr<InventoryService> make_remote_inventory(std::shared_ptr<RemoteService> service,
                                                        std::chrono::milliseconds deadline);
std::unique_ptr<PaymentService> make_remote_payment(std::shared_ptr<RemoteService> service,
                                                    std::chrono::milliseconds deadline);
std::unique_ptr<ShippingService> make_remote_shipping(std::shared_ptr<RemoteService> service,
                                                      std::chrono::milliseconds deadline);
// Asks the payment service what is unsettled, its caller what became of it, and tells the service.
// `metrics` may be null; it outlives the settler.
std::unique_ptr<CardSettler> make_remote_settler(std::shared_ptr<RemoteService> service,
                                                 std::chrono::milliseconds deadline,
                                                 Metrics* metrics);

}  // namespace txcoord::remote
