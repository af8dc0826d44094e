// The words for operations and payment methods, as databases, logs and REST know them.
#include "participants/operation.hpp"

namespace txcoord {

std::string_view to_string(OperationKind kind) {
  switch (kind) {
    case OperationKind::place: return "place";
    case OperationKind::cancel: return "cancel";
    case OperationKind::ship: return "ship";
    case OperationKind::deliver: return "deliver";
    case OperationKind::create: return "create";
    case OperationKind::confirm: return "confirm";
    case OperationKind::fail: return "fail";
  }
  return "unknown";
}

std::string_view to_string(PaymentMethod method) {
  switch (method) {
    case PaymentMethod::wallet: return "wallet";
    case PaymentMethod::card: return "card";
  }
  return "unknown";
}

}  // namespace txcoord
