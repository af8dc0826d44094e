"""The rules of operations, and of each service's own calls."""
import secrets
import time
import uuid

from fixtures import ADDRESS, PRICE, operation, placing
from kit import NotHere, answers, expect, rule, wait_until

OLD_SECONDS_MAX = 10  # after which an intent that was not used counts as old


@rule("Operations")
def whole_64_bits(service, shop):
    """An amount above 2^53 comes back as it was sent."""
    amount = (1 << 53) + 1
    if shop.participant == "shipping":
        raise NotHere("shipping knows no amount")
    if shop.participant == "order":
        made = operation("place", place=placing(shop.sku, 1, shop.customer, unit_price=amount))
        service.committed(made)
        found = service.do("order", order_id=made["order_id"])["found"]
        seen = [found["total_amount"], found["items"][0]["unit_price"]]
    elif shop.participant == "inventory":
        seen = [service.do("put-stock", sku=shop.sku, unit_price=amount, available=amount)[name]
                for name in ("unit_price", "available")]
    else:
        service.do("put-wallet", customer_id=shop.customer, balance=amount)
        seen = [service.do("wallet", customer_id=shop.customer)["found"]["balance"]]
    expect(set(seen) == {amount} and all(type(value) is int for value in seen), f"sent {amount}, seen {seen}")


@rule("Operations", only=("payment",))
def cards(service, shop):
    """A card is authorised before the vote is answered: declined is a final no, no word of it is retry."""
    votes = service.vote(service.gid(), [shop.card("tok_ok"), shop.card("tok_declined"), shop.card("tok_timeout")])
    expect(answers(votes) == ["yes", "no", "retry"], f"got {votes}")
    expect(votes[1]["reason"] == "CARD_DECLINED" and votes[1]["final"], f"got {votes[1]}")
    placed = shop.card("tok_ok")
    service.committed(placed)
    expect(shop.state(placed) in ("AUTHORIZED", "CAPTURED"), f"a reader sees {shop.state(placed)}")


@rule("The service's own calls", only=("payment",))
def cards_are_settled(service, shop):
    """settle-cards captures what was committed, and reverses what was cancelled; again: nothing happens."""
    placed = shop.card("tok_ok")
    service.committed(placed)
    service.do("settle-cards", gids=[])
    expect(shop.state(placed) == "CAPTURED", f"settled, and a reader sees {shop.state(placed)}")
    service.committed({**placed, "kind": "cancel"})
    for _ in range(2):
        report = service.do("settle-cards", gids=[])
        numbers = [report.get(name) for name in ("captured", "reversed", "voided", "lag_ms")]
        expect(all(type(number) is int for number in numbers), f"it reports {report}")
    expect(shop.state(placed) == "REFUNDED", f"cancelled, and a reader sees {shop.state(placed)}")
    expect(shop.history(placed).count("CardReversed") == 1, f"its events are {shop.history(placed)}")


@rule("The service's own calls", only=("payment",))
def unused_cards_are_let_go(service, shop):
    """A card that was authorised for a branch that was released is listed by old-intents until it is settled."""
    gids = [service.gid() for _ in range(2)]
    for gid in gids:
        service.vote(gid, [shop.card("tok_ok")])
        service.do("release", gid=gid)
    wait_until("old-intents lists what was not used",
               lambda: set(gids) <= set(service.do("old-intents")["gids"]), OLD_SECONDS_MAX)
    service.do("settle-cards", gids=gids[:1])  # the other may be active still
    listed = set(service.do("old-intents")["gids"]) & set(gids)
    expect(listed == {gids[1]}, f"one of two was settled, and {len(listed)} are listed")


@rule("The service's own calls", only=("payment",))
def payments(service, shop):
    """A payment is found by its id, its order and its customer; a wallet has what is left."""
    customer = shop.wallet(10 * PRICE)
    placed = [shop.place(customer) for _ in range(3)]
    service.committed(*placed)
    found = service.do("payment", payment_id=placed[0]["place"]["payment_id"])["found"]
    expect([found] == service.do("payments-of-order", order_id=placed[0]["order_id"])["rows"], "they differ")
    expect((found["amount"], found["payment_method"], found["customer_id"]) == (PRICE, "wallet", customer), f"{found}")
    paged = pages(service, "payments-of-customer", "payment_id", customer_id=customer)
    expect(paged == sorted((made["place"]["payment_id"] for made in placed), reverse=True), f"pages: {paged}")
    balance = service.do("wallet", customer_id=customer)["found"]["balance"]
    expect(balance == 7 * PRICE, f"three of ten were spent, and {balance} are left")


@rule("The service's own calls", only=("inventory",))
def stock_and_restock(service, shop):
    """put-stock sets what it names; a restock adds once for each key, and knows another body under it."""
    sku, fingerprint = shop.stock(5), secrets.token_hex(32)
    after = service.do("put-stock", sku=sku, title="other", low_stock_threshold=2)
    expect((after["title"], after["available"], after["unit_price"]) == ("other", 5, PRICE), f"put-stock: {after}")
    keyed = {"scope": "conformance", "key": secrets.token_hex(8), "fingerprint": fingerprint}
    replies = [service.do("restock", sku=sku, quantity=3, **keyed) for _ in range(2)]
    expect([reply["status"] for reply in replies] == ["done", "replayed"], f"restock: {replies}")
    expect([reply["stock"]["available"] for reply in replies] == [8, 8], f"restock: {replies}")
    reused = service.do("restock", sku=sku, quantity=4, **{**keyed, "fingerprint": secrets.token_hex(32)})
    expect(reused["status"] == "key_reused", f"the key with another body: {reused}")
    absent = service.do("restock", sku="no such", quantity=3, **{**keyed, "key": secrets.token_hex(8)})
    expect(absent["status"] == "not_found", f"a product that is not there: {absent}")
    found = service.do("stock", sku=sku)["found"]
    expect(found["available"] == 8, f"5 and 3 once: {found}")


@rule("The service's own calls", only=("inventory",))
def reservations_expire(service, shop):
    """A reservation with reserve_until in the past is listed, and freed by expire, once; a kept one never is."""
    sku = shop.stock(10)
    freed, kept = ({**shop.place(sku), "reserve_until": time.time_ns() // 1000 - 1} for _ in range(2))
    service.committed(freed, kept)
    ids = [freed["order_id"], kept["order_id"]]
    listed = service.do("expired-reservations", limit=1000)["order_ids"]
    expect(set(ids) <= set(listed), "two have run out, and are not listed")
    service.do("keep-reservations", order_ids=[kept["order_id"]])
    expect([service.do("expire", order_ids=ids)["orders"] for _ in range(2)] == [1, 0], "expired otherwise than once")
    expect((shop.state(freed), shop.state(kept)) == ("RELEASED", "RESERVED"), "the rows do not say so")
    stock = service.do("stock", sku=sku)["found"]
    expect((stock["available"], stock["reserved"]) == (9, 1), f"one of ten is kept: {stock}")
    expect(not set(ids) & set(service.do("expired-reservations", limit=1000)["order_ids"]), "still listed")
    row, = service.do("reservations", order_id=kept["order_id"])["rows"]
    expect(row == service.do("reservation", reservation_id=row["reservation_id"])["found"], "they differ")


@rule("The service's own calls", only=("order",))
def orders(service, shop):
    """Orders are found by id, by customer page by page and newest first, by status, by correlation id."""
    placed = sorted((shop.place() for _ in range(3)), key=lambda made: made["order_id"], reverse=True)
    gid = service.committed(*placed)
    found = service.do("order", order_id=placed[0]["order_id"])["found"]
    expect((found["mode"], found["transaction_id"], found["total_amount"]) == ("2pc", gid, PRICE), f"{found}")
    item, = found["items"]
    expect((item["sku"], item["quantity"], item["unit_price"]) == (shop.sku, 1, PRICE), f"its item is {item}")
    paged = pages(service, "orders", "order_id", customer_id=shop.customer, status="")
    expect(paged == [made["order_id"] for made in placed], f"pages: {paged}")
    expect(not pages(service, "orders", "order_id", customer_id=shop.customer, status="FAILED"), "none has failed")
    ids = service.do("orders-by-correlation", correlation_id=placed[1]["correlation_id"])["order_ids"]
    expect(ids == [placed[1]["order_id"]], f"by its correlation id: {ids}")


@rule("The service's own calls", only=("order",))
def fail_pending(service, shop):
    """fail-pending fails what is PENDING, for its reason; the others it leaves, and tells what they are."""
    pending, confirmed, unknown = shop.step(), shop.place(), str(uuid.uuid4())
    service.run_step("create", (str(uuid.uuid4()), pending))
    service.committed(confirmed)
    ids = [pending["order_id"], confirmed["order_id"], unknown]
    for _ in range(2):
        fates = service.do("fail-pending", order_ids=ids, reason="RESERVATION_EXPIRED")["rows"]
        told = {fate["order_id"]: fate["status"] for fate in fates}
        expect(told == dict(zip(ids, ("FAILED", "CONFIRMED", ""))), f"it tells {fates}")
    found = service.do("order", order_id=pending["order_id"])["found"]
    expect((found["status"], found["reason"]) == ("FAILED", "RESERVATION_EXPIRED"), f"{found}")
    expect(shop.history(pending).count("OrderFailed") == 1, f"its events are {shop.history(pending)}")


def pages(service, call, key, **filters):
    """All ids, by pages of two."""
    ids = []
    while True:
        rows = service.do(call, limit=2, after=ids[-1] if ids else "", **filters)["rows"]
        ids += [row[key] for row in rows]
        if not rows:
            return ids
        expect(len(rows) <= 2 and len(set(ids)) == len(ids), f"{call}: pages of two: {ids}")


@rule("The service's own calls", only=("shipping",))
def shipments(service, shop):
    """A shipment is found by its id and by its order, as it was placed, with times in microseconds."""
    placed = shop.place(line2="五階", phone="03-1234-5678")
    service.committed(placed)
    found = service.do("shipment", shipment_id=placed["place"]["shipment_id"])["found"]
    rows = service.do("shipments", order_id=placed["order_id"])["rows"]
    expect(rows == [found], "by its id and by its order differ")
    expect(found["address"] == {**ADDRESS, "line2": "五階", "phone": "03-1234-5678"}, "the address is another one")
    expect((found["carrier"], found["tracking_number"][:2]) == ("Musashino Delivery", "MS"), f"by {found['carrier']}")
    expect(found["created_at"] == placed["created_at"], f"created at {found['created_at']}")
    event, = service.do("shipping-events", order_id=placed["order_id"])["rows"]
    expect(event == {"type": "ShippingArranged", "correlation_id": placed["correlation_id"],
                     "at": placed["created_at"]}, f"its event is {event}")
    service.committed({**placed, "kind": "ship"})
    service.committed({**placed, "kind": "deliver"})
    types = shop.history(placed)
    expect(types == ["ShippingArranged", "ShipmentShipped", "ShipmentDelivered"], f"its events are {types}")
    vote, = service.vote(service.gid(), [{**placed, "kind": "cancel"}])
    expect((vote["answer"], vote.get("reason"), vote["final"]) == ("no", "ILLEGAL_STATE", True), f"got {vote}")


@rule("The service's own calls")
def nothing_found(service, shop):
    """What is not there is null, or no rows; not a failure."""
    unknown = operation("place")["order_id"]
    single = {"order": {"order_id": unknown}, "reservation": {"reservation_id": unknown}, "stock": {"sku": "no such"},
              "payment": {"payment_id": unknown}, "wallet": {"customer_id": "no such"},
              "shipment": {"shipment_id": unknown}}
    calls = {"order": ("order",), "inventory": ("stock", "reservation"), "payment": ("wallet", "payment"),
             "shipping": ("shipment",)}[shop.participant]
    for call in calls:
        answer = service.do(call, **single[call])
        expect("found" in answer and answer["found"] is None, f"{call} answered {answer}")
    expect(shop.history({"order_id": unknown}) == [], "an order that never was has events")
