"""The four services' businesses, as far as the suite needs them: operations that get yes, that are refused, that are
in each other's way; and how to see what became of them, through the service's own calls."""
import secrets
import time
import uuid

ADDRESS = {"name": "適合 試験", "postal_code": "100-0001", "prefecture": "東京都", "city": "千代田区", "line1": "千代田1-1"}
PRICE = 100


def operation(kind, order_id=None, place=None, **more):
    made = {"kind": kind, "order_id": order_id or str(uuid.uuid4()), "correlation_id": f"conformance-{uuid.uuid4()}",
            "mode": "2pc", "transaction_id": "", "created_at": time.time_ns() // 1000, "accepted": False, "reason": ""}
    if place is not None:
        made["place"] = place
    made.update(more)
    return made


def placing(sku, quantity, customer, unit_price=PRICE):
    """What `place` carries to every service; each adds or needs its own part of it."""
    return {"customer_id": customer, "total_amount": quantity * unit_price, "payment_method": "wallet",
            "payment_id": str(uuid.uuid4()), "shipment_id": str(uuid.uuid4()),
            "items": [{"sku": sku, "quantity": quantity, "unit_price": unit_price,
                       "reservation_id": str(uuid.uuid4())}]}


def opposite(kind, placed):
    """An operation on the order that `placed` makes; it keeps `place`, as the steps of a saga do."""
    return {**placed, "kind": kind}


class Fixture:
    """One service. `placed`: what its rows say once an order is placed; `undone`: once it is cancelled."""
    participant = placed = undone = events = None
    do_step = undo_step = None       # (barrier, kind) of a saga's step here and of its compensation
    stepped = unstepped = None       # what the rows say after them
    never_stepped = None             # after a compensation that found nothing to undo
    missing_is_retry = True          # a cancel of an order that is not here: retry; else a refusal
    no_work = None                   # a kind that this service has no work for

    def __init__(self, service):
        self.service = service
        self.customer, self.sku = f"suite-{secrets.token_hex(6)}", f"suite-{secrets.token_hex(6)}"

    def place(self):
        """An order that gets yes, and is in nobody's way."""
        return operation("place", place=placing(self.sku, 1, self.customer))

    def step(self, placed=None):
        """The same as the step of a saga, which is told its transaction."""
        made = placed or self.place()
        return {**made, "kind": self.do_step[1], "mode": "saga", "transaction_id": str(uuid.uuid4())}

    def undo(self, step):
        return {**step, "kind": self.undo_step[1], "reason": "PARTICIPANT_UNAVAILABLE"}

    def rivals(self):
        """Two operations of which only one can be done: the second's refusal is the first one's doing."""
        placed = self.place()
        self.service.committed(placed)
        return opposite("cancel", placed), opposite("cancel", placed)

    def rivals_done(self):
        """What the rows say of the order of the rival that was done."""
        return self.undone

    def giver_and_taker(self):
        """(first, second): the second could be done only if the first were counted as done."""
        placed = self.place()
        return placed, opposite("cancel", placed)

    def refused(self):
        """(operation, reason): refused whatever else is in the group."""
        raise NotImplementedError

    def state(self, made):
        """What the service says of the order: a status, or None."""
        raise NotImplementedError

    def history(self, made):
        """The types of the order's events."""
        return [event["type"] for event in self.service.do(self.events, order_id=made["order_id"])["rows"]]

    def only_status(self, call, made):
        found = {row["status"] for row in self.service.do(call, order_id=made["order_id"])["rows"]}
        return found.pop() if len(found) == 1 else found or None


class Order(Fixture):
    participant, placed, undone, events = "order", "CONFIRMED", "CANCELLED", "order-events"
    do_step, undo_step, stepped, unstepped = ("create", "create"), ("fail", "fail"), "PENDING", "FAILED"
    never_stepped = "FAILED"  # a row that says why the order failed
    missing_is_retry = False

    def refused(self):
        return operation("cancel"), "NOT_FOUND"

    def state(self, made):
        found = self.service.do("order", order_id=made["order_id"])["found"]
        return found and found["status"]


class Inventory(Fixture):
    participant, placed, undone, events = "inventory", "RESERVED", "RELEASED", "stock-events"
    do_step, undo_step, stepped, unstepped = ("reserve", "place"), ("release", "cancel"), "RESERVED", "RELEASED"
    no_work = "deliver"

    def stock(self, available):
        sku = f"suite-{secrets.token_hex(6)}"
        self.service.do("put-stock", sku=sku, title="適合", unit_price=PRICE, available=available)
        return sku

    def place(self, sku=None):
        return operation("place", place=placing(sku or self.stock(1000), 1, self.customer))

    def rivals(self):
        sku = self.stock(1)
        return self.place(sku), self.place(sku)

    def rivals_done(self):
        return self.placed

    def giver_and_taker(self):
        sku = self.stock(1)
        placed = self.place(sku)
        self.service.committed(placed)
        return opposite("cancel", placed), self.place(sku)

    def refused(self):
        return self.place(f"unknown-{secrets.token_hex(6)}"), "UNKNOWN_SKU"

    def state(self, made):
        return self.only_status("reservations", made)


class Payment(Fixture):
    participant, placed, undone, events = "payment", "CAPTURED", "REFUNDED", "payment-events"
    do_step, undo_step, stepped, unstepped = ("charge", "place"), ("refund", "cancel"), "CAPTURED", "REFUNDED"
    no_work = "ship"

    def wallet(self, balance):
        customer = f"suite-{secrets.token_hex(6)}"
        self.service.do("put-wallet", customer_id=customer, balance=balance)
        return customer

    def place(self, customer=None):
        return operation("place", place=placing(self.sku, 1, customer or self.wallet(1000 * PRICE)))

    def card(self, token):
        made = self.place()
        made["place"].update(payment_method="card", payment_token=token)
        return made

    def rivals(self):
        customer = self.wallet(PRICE)
        return self.place(customer), self.place(customer)

    def rivals_done(self):
        return self.placed

    def giver_and_taker(self):
        customer = self.wallet(PRICE)
        placed = self.place(customer)
        self.service.committed(placed)
        return opposite("cancel", placed), self.place(customer)

    def refused(self):
        return self.place(f"unknown-{secrets.token_hex(6)}"), "UNKNOWN_CUSTOMER"

    def state(self, made):
        return self.only_status("payments-of-order", made)


class Shipping(Fixture):
    participant, placed, undone, events = "shipping", "ARRANGED", "CANCELLED", "shipping-events"
    do_step, undo_step, stepped, unstepped = ("arrange", "place"), ("cancel", "cancel"), "ARRANGED", "CANCELLED"
    no_work = "create"

    def place(self, **address):
        made = super().place()
        made["place"]["address"] = {**ADDRESS, **address}
        return made

    def refused(self):
        return self.place(prefecture="Atlantis"), "ADDRESS_REFUSED"

    def state(self, made):
        return self.only_status("shipments", made)


FIXTURES = {fixture.participant: fixture for fixture in (Order, Inventory, Payment, Shipping)}
