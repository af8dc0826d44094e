// The schemas of everything that crosses the public interface. Bodies are checked against them,
// /openapi.json is written from them, and the tests hold our own answers against them.
#pragma once

#include "txcoord/http/schema.hpp"

namespace txcoord::http::schemas {

// --- parts -------------------------------------------------------------------------------------
inline constexpr Schema flag{.kind = SchemaKind::boolean};
inline constexpr Schema uuid{
    .kind = SchemaKind::text, .least = 36, .most = 36, .rule = TextRule::uuid};
inline constexpr Schema time{
    .kind = SchemaKind::text, .least = 20, .most = 32, .rule = TextRule::time};
inline constexpr Schema sku{
    .kind = SchemaKind::text, .least = 1, .most = 64, .rule = TextRule::visible};
inline constexpr Schema customer_id{
    .kind = SchemaKind::text, .least = 1, .most = 64, .rule = TextRule::visible};
inline constexpr Schema gid{
    .kind = SchemaKind::text, .least = 1, .most = 64, .rule = TextRule::visible};
inline constexpr Schema correlation_id{
    .kind = SchemaKind::text, .least = 1, .most = 128, .rule = TextRule::correlation};
inline constexpr Schema text_32{.kind = SchemaKind::text, .least = 1, .most = 32};
inline constexpr Schema text_64{.kind = SchemaKind::text, .least = 1, .most = 64};
inline constexpr Schema text_200{.kind = SchemaKind::text, .least = 1, .most = 200};
inline constexpr Schema message{.kind = SchemaKind::text, .most = 2000};
inline constexpr Schema count{.kind = SchemaKind::integer};
inline constexpr Schema quantity{.kind = SchemaKind::integer, .least = 1, .most = 1'000'000};
inline constexpr Schema unit_price{.kind = SchemaKind::integer,
                                   .description = "Minor units of the deployment's one currency.",
                                   .most = 1'000'000'000'000};
inline constexpr Schema amount{.kind = SchemaKind::integer, .description = "Minor units."};
inline constexpr Schema balance{
    .kind = SchemaKind::integer, .description = "Minor units.", .most = 1'000'000'000'000'000};
inline constexpr Schema stock_count{.kind = SchemaKind::integer, .most = 1'000'000'000'000};
inline constexpr Schema limit{.kind = SchemaKind::integer, .least = 1, .most = 200};
inline constexpr Schema cursor{.kind = SchemaKind::text,
                               .description = "Opaque: next_cursor of the page before.",
                               .least = 1,
                               .most = 200,
                               .rule = TextRule::visible};
inline constexpr Schema document{.kind = SchemaKind::text};

inline constexpr std::string_view mode_names[] = {"2pc", "saga"};
inline constexpr Schema mode{.kind = SchemaKind::text, .choices = mode_names};
inline constexpr std::string_view method_names[] = {"wallet", "card"};
inline constexpr Schema payment_method{.kind = SchemaKind::text, .choices = method_names};
inline constexpr std::string_view token_names[] = {"tok_ok", "tok_declined", "tok_timeout"};
inline constexpr Schema payment_token{.kind = SchemaKind::text,
                                      .description = "For payment_method card; tok_ok unless told.",
                                      .choices = token_names};
inline constexpr std::string_view order_status_names[] = {"PENDING",   "CONFIRMED", "FAILED",
                                                          "CANCELLED", "SHIPPED",   "DELIVERED"};
inline constexpr Schema order_status{.kind = SchemaKind::text, .choices = order_status_names};
inline constexpr std::string_view reservation_status_names[] = {"RESERVED", "RELEASED", "SHIPPED"};
inline constexpr Schema reservation_status{.kind = SchemaKind::text,
                                           .choices = reservation_status_names};
inline constexpr std::string_view payment_status_names[] = {"AUTHORIZED", "CAPTURED", "REFUNDED",
                                                            "VOIDED", "DUE"};
inline constexpr Schema payment_status{.kind = SchemaKind::text, .choices = payment_status_names};
inline constexpr std::string_view shipment_status_names[] = {"ARRANGED", "SHIPPED", "DELIVERED",
                                                             "CANCELLED", "DUE"};
inline constexpr Schema shipment_status{.kind = SchemaKind::text, .choices = shipment_status_names};
inline constexpr std::string_view shipment_target_names[] = {"SHIPPED", "DELIVERED"};
inline constexpr Schema shipment_target{.kind = SchemaKind::text, .choices = shipment_target_names};
inline constexpr std::string_view participant_choices[] = {"order", "inventory", "payment",
                                                           "shipping"};
inline constexpr Schema participant{.kind = SchemaKind::text, .choices = participant_choices};
inline constexpr std::string_view service_choices[] = {"order", "inventory", "payment", "shipping",
                                                       "log"};
inline constexpr Schema service{.kind = SchemaKind::text, .choices = service_choices};
inline constexpr std::string_view teller_choices[] = {"order", "inventory", "payment", "shipping",
                                                      "coordinator"};
inline constexpr Schema teller{.kind = SchemaKind::text, .choices = teller_choices};
inline constexpr Schema services{.kind = SchemaKind::array, .most = 5, .items = &service};
inline constexpr Schema order_ids{.kind = SchemaKind::array, .most = 10'000, .items = &uuid};

// --- requests ----------------------------------------------------------------------------------
inline constexpr Field order_line_fields[] = {
    {"sku", &sku}, {"quantity", &quantity}, {"unit_price", &unit_price}};
inline constexpr Schema order_line{
    .kind = SchemaKind::object, .name = "OrderLine", .fields = order_line_fields};
inline constexpr Schema order_lines{.kind = SchemaKind::array,
                                    .description = "Each SKU once.",
                                    .least = 1,
                                    .most = 100,
                                    .items = &order_line};
inline constexpr Field address_fields[] = {{"name", &text_200},       {"postal_code", &text_32},
                                           {"prefecture", &text_64},  {"city", &text_200},
                                           {"line1", &text_200},      {"line2", &text_200, false},
                                           {"phone", &text_32, false}};
inline constexpr Schema address{
    .kind = SchemaKind::object, .name = "ShippingAddress", .fields = address_fields};
inline constexpr Field place_order_fields[] = {{"customer_id", &customer_id},
                                               {"items", &order_lines},
                                               {"shipping_address", &address},
                                               {"payment_method", &payment_method},
                                               {"payment_token", &payment_token, false},
                                               {"mode", &mode, false}};
inline constexpr Schema place_order{
    .kind = SchemaKind::object,
    .name = "PlaceOrder",
    .fields = place_order_fields,
    .example = R"({"customer_id":"customer-001","items":[{"sku":"book-123","qu)"
               R"(antity":1,"unit_price":3500}],"shipping_address":{"name":"田中)"
               R"(太郎","postal_code":"100-0001","prefecture":"東京都","city":"千代田区)"
               R"(","line1":"千代田1-1"},"payment_method":"wallet"})"};
inline constexpr Field put_stock_fields[] = {{"title", &text_200, false},
                                             {"category", &text_64, false},
                                             {"unit_price", &unit_price, false},
                                             {"available", &stock_count, false},
                                             {"low_stock_threshold", &stock_count, false}};
inline constexpr Schema put_stock{
    .kind = SchemaKind::object,
    .name = "PutStock",
    .description =
        "What is not named stays. `available` is required for a product that does not exist yet.",
    .fields = put_stock_fields,
    .example = R"({"title":"クラウド設計パターン集","category":"books","unit_price":3500,)"
               R"("available":5})"};
inline constexpr Field restock_fields[] = {{"quantity", &quantity}};
inline constexpr Schema restock{.kind = SchemaKind::object,
                                .name = "Restock",
                                .fields = restock_fields,
                                .example = R"({"quantity":10})"};
inline constexpr Field put_wallet_fields[] = {{"balance", &balance}};
inline constexpr Schema put_wallet{.kind = SchemaKind::object,
                                   .name = "PutWallet",
                                   .fields = put_wallet_fields,
                                   .example = R"({"balance":50000})"};
inline constexpr Field patch_shipment_fields[] = {{"status", &shipment_target}};
inline constexpr Schema patch_shipment{.kind = SchemaKind::object,
                                       .name = "PatchShipment",
                                       .fields = patch_shipment_fields,
                                       .example = R"({"status":"SHIPPED"})"};
inline constexpr Field cancel_order_fields[] = {{"mode", &mode, false}};
inline constexpr Schema cancel_order{.kind = SchemaKind::object,
                                     .name = "CancelOrder",
                                     .fields = cancel_order_fields,
                                     .example = R"({"mode":"saga"})"};

// --- answers -----------------------------------------------------------------------------------
inline constexpr Field item_fields[] = {{"sku", &sku},
                                        {"quantity", &quantity},
                                        {"unit_price", &unit_price},
                                        {"reservation_id", &uuid, false},
                                        {"reservation_status", &reservation_status, false}};
inline constexpr Schema item{
    .kind = SchemaKind::object, .name = "OrderItem", .fields = item_fields};
inline constexpr Schema items{.kind = SchemaKind::array, .most = 100, .items = &item};
inline constexpr Field order_payment_fields[] = {{"payment_id", &uuid},
                                                 {"payment_method", &payment_method},
                                                 {"amount", &amount},
                                                 {"status", &payment_status}};
inline constexpr Schema order_payment{
    .kind = SchemaKind::object, .name = "OrderPayment", .fields = order_payment_fields};
inline constexpr Field order_shipment_fields[] = {{"shipment_id", &uuid},
                                                  {"status", &shipment_status},
                                                  {"carrier", &text_200, false},
                                                  {"tracking_number", &text_200, false}};
inline constexpr Schema order_shipment{
    .kind = SchemaKind::object, .name = "OrderShipment", .fields = order_shipment_fields};
inline constexpr Schema step_name{
    .kind = SchemaKind::text, .description = "Empty when it has ended.", .most = 64};
inline constexpr Field timeline_entry_fields[] = {
    {"at", &time}, {"service", &teller}, {"type", &text_64}, {"correlation_id", &text_200, false}};
inline constexpr Schema timeline_entry{
    .kind = SchemaKind::object, .name = "TimelineEntry", .fields = timeline_entry_fields};
inline constexpr Schema timeline{.kind = SchemaKind::array, .most = 4000, .items = &timeline_entry};
inline constexpr Schema risk{
    .kind = SchemaKind::text,
    .description = "Of a saga that the log has lost: what is taken or held, and from whom.",
    .most = 12'000};
inline constexpr Field order_fields[] = {{"order_id", &uuid},
                                         {"customer_id", &customer_id},
                                         {"status", &order_status},
                                         {"mode", &mode},
                                         {"reason", &text_64, false},
                                         {"total_amount", &amount},
                                         {"currency", &text_32},
                                         {"items", &items},
                                         {"payment", &order_payment, false},
                                         {"shipment", &order_shipment, false},
                                         {"created_at", &time},
                                         {"updated_at", &time, false},
                                         {"correlation_id", &text_200, false},
                                         {"transaction_id", &gid, false},
                                         {"applied", &flag},
                                         {"saga_id", &uuid, false},
                                         {"attempts", &count, false},
                                         {"next_retry_at", &time, false},
                                         {"last_error", &message, false},
                                         {"at_risk", &risk, false},
                                         {"waiting_for", &services, false},
                                         {"timeline", &timeline, false}};
inline constexpr Schema order{.kind = SchemaKind::object, .name = "Order", .fields = order_fields};
inline constexpr Schema orders{.kind = SchemaKind::array, .most = 200, .items = &order};
inline constexpr Field order_page_fields[] = {{"orders", &orders}, {"next_cursor", &cursor, false}};
inline constexpr Schema order_page{
    .kind = SchemaKind::object, .name = "OrderPage", .fields = order_page_fields};

inline constexpr Schema title{.kind = SchemaKind::text, .most = 200};
inline constexpr Field stock_fields[] = {{"sku", &sku},
                                         {"title", &title},
                                         {"category", &title},
                                         {"unit_price", &unit_price},
                                         {"available", &count},
                                         {"reserved", &count},
                                         {"low_stock_threshold", &count}};
inline constexpr Schema stock{
    .kind = SchemaKind::object,
    .name = "Stock",
    .fields = stock_fields,
    .example = R"({"sku":"book-123","title":"クラウド設計パターン集","category":"books",")"
               R"(unit_price":3500,"available":5,"reserved":0,"low_stock_thres)"
               R"(hold":2})"};
inline constexpr Schema stocks{.kind = SchemaKind::array, .most = 200, .items = &stock};
inline constexpr Field stock_page_fields[] = {{"inventory", &stocks},
                                              {"next_cursor", &cursor, false}};
inline constexpr Schema stock_page{
    .kind = SchemaKind::object, .name = "StockPage", .fields = stock_page_fields};

inline constexpr Field wallet_fields[] = {
    {"customer_id", &customer_id}, {"balance", &amount}, {"currency", &text_32}};
inline constexpr Schema wallet{.kind = SchemaKind::object,
                               .name = "Wallet",
                               .fields = wallet_fields,
                               .example =
                                   R"({"customer_id":"customer-001","balance":50000,"currency":"JP)"
                                   R"(Y"})"};

inline constexpr Field reservation_fields[] = {{"reservation_id", &uuid},
                                               {"order_id", &uuid},
                                               {"sku", &sku},
                                               {"quantity", &quantity},
                                               {"status", &reservation_status},
                                               {"created_at", &time},
                                               {"expires_at", &time, false}};
inline constexpr Schema reservation{
    .kind = SchemaKind::object, .name = "Reservation", .fields = reservation_fields};
inline constexpr Schema reservations{.kind = SchemaKind::array, .most = 100, .items = &reservation};
inline constexpr Field reservation_list_fields[] = {{"reservations", &reservations}};
inline constexpr Schema reservation_list{
    .kind = SchemaKind::object, .name = "ReservationList", .fields = reservation_list_fields};

inline constexpr Field payment_fields[] = {
    {"payment_id", &uuid},         {"order_id", &uuid},
    {"customer_id", &customer_id}, {"amount", &amount},
    {"currency", &text_32},        {"payment_method", &payment_method},
    {"status", &payment_status},   {"provider_reference", &text_200, false},
    {"created_at", &time},         {"updated_at", &time}};
inline constexpr Schema payment{
    .kind = SchemaKind::object, .name = "Payment", .fields = payment_fields};
inline constexpr Schema payments{.kind = SchemaKind::array, .most = 200, .items = &payment};
inline constexpr Field payment_page_fields[] = {{"payments", &payments},
                                                {"next_cursor", &cursor, false}};
inline constexpr Schema payment_page{
    .kind = SchemaKind::object, .name = "PaymentPage", .fields = payment_page_fields};

inline constexpr Field shipment_fields[] = {{"shipment_id", &uuid},
                                            {"order_id", &uuid},
                                            {"status", &shipment_status},
                                            {"carrier", &text_200, false},
                                            {"tracking_number", &text_200, false},
                                            {"shipping_address", &address, false},
                                            {"created_at", &time},
                                            {"updated_at", &time}};
inline constexpr Schema shipment{
    .kind = SchemaKind::object, .name = "Shipment", .fields = shipment_fields};
inline constexpr Schema shipments{.kind = SchemaKind::array, .most = 200, .items = &shipment};
inline constexpr Field shipment_list_fields[] = {{"shipments", &shipments}};
inline constexpr Schema shipment_list{
    .kind = SchemaKind::object, .name = "ShipmentList", .fields = shipment_list_fields};
inline constexpr Field shipment_change_fields[] = {
    {"shipment_id", &uuid},          {"order_id", &uuid},
    {"status", &shipment_target},    {"updated_at", &time},
    {"transaction_id", &gid, false}, {"applied", &flag}};
inline constexpr Schema shipment_change{
    .kind = SchemaKind::object, .name = "ShipmentChange", .fields = shipment_change_fields};

inline constexpr std::string_view operation_names[] = {"cancel", "ship", "deliver"};
inline constexpr Schema operation{.kind = SchemaKind::text, .choices = operation_names};
inline constexpr std::string_view pending_names[] = {"PENDING"};
inline constexpr Schema pending{.kind = SchemaKind::text, .choices = pending_names};
inline constexpr Field accepted_fields[] = {{"order_id", &uuid},
                                            {"operation", &operation},
                                            {"status", &pending},
                                            {"reason", &text_64, false},
                                            {"transaction_id", &gid, false}};
inline constexpr Schema accepted{
    .kind = SchemaKind::object, .name = "Accepted", .fields = accepted_fields};

// --- problems ----------------------------------------------------------------------------------
inline constexpr std::string_view reason_names[] = {
    "OUT_OF_STOCK",      "UNKNOWN_SKU",       "PRICE_CHANGED",           "INSUFFICIENT_FUNDS",
    "CARD_DECLINED",     "UNKNOWN_CUSTOMER",  "ADDRESS_REFUSED",         "CARRIER_UNAVAILABLE",
    "VALIDATION_FAILED", "NOT_FOUND",         "ILLEGAL_STATE",           "KEY_MISSING",
    "KEY_REUSED",        "REQUEST_IN_FLIGHT", "PARTICIPANT_UNAVAILABLE", "OVERLOADED",
    "RATE_LIMITED",      "OUTCOME_UNKNOWN",   "MODE_NOT_AVAILABLE",      "RESERVATION_EXPIRED",
    "SAGA_LOST",         "ROWS_MISSING",      "UNAUTHENTICATED",         "HOST_NOT_ALLOWED",
    "ORIGIN_NOT_ALLOWED"};
inline constexpr Schema reason{
    .kind = SchemaKind::text,
    .description = "One of these, or a participant's own, which is a refusal (409).",
    .least = 1,
    .most = 64,
    .rule = TextRule::reason,
    .choices = reason_names,
    .more_choices = true};
inline constexpr Schema http_status{.kind = SchemaKind::integer, .least = 400, .most = 599};
inline constexpr Field field_error_fields[] = {{"field", &message}, {"message", &message}};
inline constexpr Schema field_error{
    .kind = SchemaKind::object, .name = "FieldError", .fields = field_error_fields};
inline constexpr Schema field_errors{
    .kind = SchemaKind::array, .least = 1, .most = errors_max, .items = &field_error};
inline constexpr Field problem_fields[] = {{"type", &text_200},
                                           {"title", &text_200},
                                           {"status", &http_status},
                                           {"detail", &message},
                                           {"reason", &reason},
                                           {"retryable", &flag},
                                           {"transaction_id", &gid, false},
                                           {"sku", &sku, false},
                                           {"unit_price", &amount, false},
                                           {"available", &count, false},
                                           {"errors", &field_errors, false}};
inline constexpr Schema problem{
    .kind = SchemaKind::object,
    .name = "Problem",
    .fields = problem_fields,
    .example = R"({"type":"urn:txcoord:problem:out-of-stock","title":"Out of s)"
               R"(tock","status":409,"detail":"book-123: 1 left","reason":"OUT)"
               R"(_OF_STOCK","retryable":false,"sku":"book-123","available":1})"};

}  // namespace txcoord::http::schemas
