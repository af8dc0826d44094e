// The schemas of what only a participant's own port answers.
#pragma once

#include "txcoord/http/schemas.hpp"

namespace txcoord::http::schemas {

inline constexpr Schema row_items{.kind = SchemaKind::array, .most = 100, .items = &order_line};
inline constexpr Field order_row_fields[] = {{"order_id", &uuid},
                                             {"customer_id", &customer_id},
                                             {"status", &order_status},
                                             {"mode", &mode},
                                             {"reason", &text_64, false},
                                             {"total_amount", &amount},
                                             {"currency", &text_32},
                                             {"items", &row_items},
                                             {"created_at", &time},
                                             {"updated_at", &time},
                                             {"correlation_id", &text_200, false},
                                             {"transaction_id", &gid, false}};
inline constexpr Schema order_row{
    .kind = SchemaKind::object,
    .name = "OrderRow",
    .description = "What the order service's database shows; the coordinator tells the order.",
    .fields = order_row_fields};
inline constexpr Schema order_rows{.kind = SchemaKind::array, .most = 200, .items = &order_row};
inline constexpr Field order_row_page_fields[] = {{"order_rows", &order_rows},
                                                  {"next_cursor", &cursor, false}};
inline constexpr Schema order_row_page{
    .kind = SchemaKind::object, .name = "OrderRowPage", .fields = order_row_page_fields};

inline constexpr Field database_fields[] = {
    {"name", &participant}, {"reachable", &flag}, {"last_error", &message, false}};
inline constexpr Schema database{
    .kind = SchemaKind::object, .name = "ParticipantDatabase", .fields = database_fields};
inline constexpr Schema databases{.kind = SchemaKind::array, .most = 4, .items = &database};
inline constexpr std::string_view databases_status_names[] = {"ready", "not_ready"};
inline constexpr Schema databases_status{.kind = SchemaKind::text,
                                         .choices = databases_status_names};
inline constexpr Field participant_readiness_fields[] = {{"status", &databases_status},
                                                         {"participants", &databases, false}};
inline constexpr Schema participant_readiness{.kind = SchemaKind::object,
                                              .name = "ParticipantReadiness",
                                              .fields = participant_readiness_fields};

}  // namespace txcoord::http::schemas
