// The schemas of what an operator sees and sets: transactions, faults, degraded modes, health.
#pragma once

#include "txcoord/http/schemas.hpp"

namespace txcoord::http::schemas {

inline constexpr std::string_view transaction_state_names[] = {
    "voting",  "judging",   "preparing", "deciding", "settling",  "committing",    "aborting",
    "burying", "releasing", "completed", "aborted",  "heuristic", "heuristic_open"};
inline constexpr Schema transaction_state{.kind = SchemaKind::text, .least = 1, .most = 32};
inline constexpr Schema transaction_filter{.kind = SchemaKind::text,
                                           .choices = transaction_state_names};
inline constexpr Schema note{.kind = SchemaKind::text, .least = 1, .most = 500};
inline constexpr std::string_view resolver_names[] = {"person", "recovery"};
inline constexpr Schema resolver{.kind = SchemaKind::text, .choices = resolver_names};
inline constexpr Field heuristic_fields[] = {
    {"participant", &service},     {"open", &flag},
    {"detail", &message},          {"found_at", &time},
    {"resolved_at", &time, false}, {"resolved_by", &resolver, false},
    {"note", &note, false}};
inline constexpr Schema heuristic{
    .kind = SchemaKind::object, .name = "HeuristicOutcome", .fields = heuristic_fields};
inline constexpr Schema heuristics{.kind = SchemaKind::array, .most = 5, .items = &heuristic};
inline constexpr Schema unknown_at{
    .kind = SchemaKind::array,
    .description = "Of waiting_for: these could not be asked whether their branch is committed.",
    .most = 5,
    .items = &service};
inline constexpr Field transaction_fields[] = {{"transaction_id", &gid},
                                               {"state", &transaction_state},
                                               {"operations", &count},
                                               {"order_ids", &order_ids},
                                               {"participants", &services},
                                               {"waiting_for", &services},
                                               {"unknown_at", &unknown_at, false},
                                               {"heuristics", &heuristics, false},
                                               {"started_at", &time, false},
                                               {"decided_at", &time, false}};
inline constexpr Schema transaction{
    .kind = SchemaKind::object, .name = "Transaction", .fields = transaction_fields};
inline constexpr Schema resolve_note{
    .kind = SchemaKind::text,
    .description = "What was done, for whoever reads it later. No personal data.",
    .least = 1,
    .most = 500};
inline constexpr Field resolve_transaction_fields[] = {{"participant", &participant, false},
                                                       {"note", &resolve_note}};
inline constexpr Schema resolve_transaction{
    .kind = SchemaKind::object,
    .name = "ResolveTransaction",
    .description = "Without `participant`: every part of it that was lost.",
    .fields = resolve_transaction_fields,
    .example = R"({"participant":"payment","note":"written again with place_payment.sql"})"};
inline constexpr Schema transactions{
    .kind = SchemaKind::array, .most = 10'000, .items = &transaction};
inline constexpr Field transaction_list_fields[] = {{"transactions", &transactions}};
inline constexpr Schema transaction_list{
    .kind = SchemaKind::object, .name = "TransactionList", .fields = transaction_list_fields};

inline constexpr Schema rate{.kind = SchemaKind::share,
                             .description = "Share of the calls that fail."};
inline constexpr Schema delay{
    .kind = SchemaKind::integer, .description = "Milliseconds before each call.", .most = 60'000};
inline constexpr std::string_view fault_mode_names[] = {"error", "lost_answer", "refuse", "down"};
inline constexpr Schema fault_mode{
    .kind = SchemaKind::text,
    .description =
        "How a call fails: not done; done, its answer lost; refused by the business (the "
        "card, the carrier, the stock); every call, as if the service were gone.",
    .choices = fault_mode_names};
inline constexpr Field fault_fields[] = {
    {"failure_rate", &rate, false}, {"delay_ms", &delay, false}, {"mode", &fault_mode, false}};
inline constexpr Schema fault{.kind = SchemaKind::object,
                              .name = "Fault",
                              .fields = fault_fields,
                              .example = R"({"failure_rate":0.3,"delay_ms":500,"mode":"error"})"};

inline constexpr std::string_view spared_choices[] = {"payment", "shipping"};
inline constexpr Schema spared_participant{.kind = SchemaKind::text, .choices = spared_choices};
inline constexpr std::string_view degraded_names[] = {"normal", "pay_later", "ship_by_hand"};
inline constexpr Schema degraded_name{.kind = SchemaKind::text, .choices = degraded_names};
inline constexpr Field put_mode_fields[] = {{"mode", &degraded_name}};
inline constexpr Schema put_mode{.kind = SchemaKind::object,
                                 .name = "PutMode",
                                 .fields = put_mode_fields,
                                 .example = R"({"mode":"pay_later"})"};
inline constexpr Field degraded_mode_fields[] = {{"participant", &spared_participant},
                                                 {"mode", &degraded_name}};
inline constexpr Schema degraded_mode{
    .kind = SchemaKind::object, .name = "DegradedMode", .fields = degraded_mode_fields};
inline constexpr Schema degraded_modes{
    .kind = SchemaKind::array, .least = 2, .most = 2, .items = &degraded_mode};
inline constexpr Field mode_list_fields[] = {{"modes", &degraded_modes}};
inline constexpr Schema mode_list{
    .kind = SchemaKind::object, .name = "ModeList", .fields = mode_list_fields};

inline constexpr std::string_view live_names[] = {"live"};
inline constexpr Schema live_status{.kind = SchemaKind::text, .choices = live_names};
inline constexpr Field liveness_fields[] = {{"status", &live_status}};
inline constexpr Schema liveness{
    .kind = SchemaKind::object, .name = "Liveness", .fields = liveness_fields};
inline constexpr std::string_view ready_names[] = {"ready", "not_ready", "draining"};
inline constexpr Schema ready_status{.kind = SchemaKind::text, .choices = ready_names};
inline constexpr std::string_view breaker_names[] = {"closed", "half_open", "open"};
inline constexpr Schema breaker_state{.kind = SchemaKind::text, .choices = breaker_names};
inline constexpr std::string_view slots_names[] = {"full"};
inline constexpr Schema slots_state{.kind = SchemaKind::text, .choices = slots_names};
inline constexpr Field health_fields[] = {{"name", &service},
                                          {"reachable", &flag},
                                          {"writable", &flag},
                                          {"recovered", &flag},
                                          {"in_doubt_branches", &count, false},
                                          {"in_doubt_oldest_seconds", &count, false},
                                          {"prepared_slots", &slots_state, false},
                                          {"last_error", &message, false},
                                          {"fault", &fault, false},
                                          {"breaker", &breaker_state, false},
                                          {"mode", &degraded_name, false}};
inline constexpr Schema health{
    .kind = SchemaKind::object, .name = "ParticipantHealth", .fields = health_fields};
inline constexpr Schema healths{.kind = SchemaKind::array, .most = 5, .items = &health};
inline constexpr Field readiness_fields[] = {{"status", &ready_status},
                                             {"participants", &healths, false}};
inline constexpr Schema readiness{
    .kind = SchemaKind::object, .name = "Readiness", .fields = readiness_fields};

}  // namespace txcoord::http::schemas
