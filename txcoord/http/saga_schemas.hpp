// The schemas of sagas and accepted orders: in lists, one with its history, and lost ones.
#pragma once

#include "txcoord/http/schemas.hpp"

namespace txcoord::http::schemas {

inline constexpr std::string_view saga_filter_names[] = {"running",
                                                         "stuck",
                                                         "lost",
                                                         "STARTED",
                                                         "ORDER_CREATED",
                                                         "STOCK_RESERVED",
                                                         "PAYMENT_COMPLETED",
                                                         "COMPLETED",
                                                         "FAILED",
                                                         "COMPENSATION_STARTED",
                                                         "ORDER_CANCELLED",
                                                         "SHIPMENT_CANCELLED",
                                                         "PAYMENT_REFUNDED"};
inline constexpr Schema saga_filter{.kind = SchemaKind::text, .choices = saga_filter_names};
inline constexpr Field saga_history_fields[] = {
    {"at", &time}, {"status", &text_64}, {"step", &step_name}};
inline constexpr Schema saga_history_entry{
    .kind = SchemaKind::object, .name = "SagaHistoryEntry", .fields = saga_history_fields};
inline constexpr Schema saga_history{
    .kind = SchemaKind::array, .most = 1000, .items = &saga_history_entry};
inline constexpr std::string_view lost_action_names[] = {"compensate", "complete"};
inline constexpr Schema lost_action{
    .kind = SchemaKind::text,
    .description = "compensate: undo what was done. complete: do the steps that are left.",
    .choices = lost_action_names};
inline constexpr Schema lost_actions{.kind = SchemaKind::array, .most = 2, .items = &lost_action};
inline constexpr Field saga_fields[] = {{"saga_id", &uuid},
                                        {"saga_type", &text_64},
                                        {"status", &text_64},
                                        {"current_step", &step_name},
                                        {"order_id", &uuid},
                                        {"correlation_id", &text_200, false},
                                        {"accepted", &flag},
                                        {"reason", &text_64, false},
                                        {"detail", &message, false},
                                        {"attempts", &count},
                                        {"next_retry_at", &time, false},
                                        {"last_error", &message, false},
                                        {"stuck_since", &time, false},
                                        {"created_at", &time},
                                        {"updated_at", &time},
                                        {"ended_at", &time, false},
                                        {"history", &saga_history, false},
                                        {"at_risk", &risk, false},
                                        {"resolutions", &lost_actions, false},
                                        {"resolution", &text_64, false}};
inline constexpr Schema saga{.kind = SchemaKind::object, .name = "Saga", .fields = saga_fields};
inline constexpr Schema sagas{.kind = SchemaKind::array, .most = 200, .items = &saga};
inline constexpr Field saga_list_fields[] = {{"sagas", &sagas}, {"next_cursor", &cursor, false}};
inline constexpr Schema saga_list{
    .kind = SchemaKind::object, .name = "SagaList", .fields = saga_list_fields};

inline constexpr Field resolve_saga_fields[] = {{"action", &lost_action}};
inline constexpr Schema resolve_saga{.kind = SchemaKind::object,
                                     .name = "ResolveSaga",
                                     .fields = resolve_saga_fields,
                                     .example = R"({"action":"compensate"})"};
inline constexpr Field lost_search_fields[] = {{"lost", &count}};
inline constexpr Schema lost_search{
    .kind = SchemaKind::object, .name = "LostSagaSearch", .fields = lost_search_fields};

}  // namespace txcoord::http::schemas
