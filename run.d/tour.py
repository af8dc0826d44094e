#!/usr/bin/env python3
"""The demo's tour: real orders against the running stack, shown by reading the databases.

Started by run.d/demo.sh, which sets TXC_URL, TXC_STATE, TXC_BIN, TXC_PSQL and TXC_DSN_<NAME>.
Each step says what it will do, does it, shows what the databases hold, and checks it. The exit
status is 0 only if every check held. It begins by setting stock and wallets, so that it can be run
again on the same state, also after a tour that was interrupted.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import uuid

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from tour_kit import (  # noqa: E402 (the path is set above)
    SERVICES, Client, ConnectionLost, Coordinator, Database, Screen, wait_for)

STEPS = 10
SETTLED_WITHIN_S = 5  # I7
ADDRESS = {"name": "田中太郎", "postal_code": "150-0002", "prefecture": "東京都", "city": "渋谷区",
           "line1": "渋谷2-21-1"}
PREPARED = "SELECT gid, prepared FROM pg_prepared_xacts WHERE database = current_database()"


def item(sku, quantity, unit_price):
    return {"sku": sku, "quantity": quantity, "unit_price": unit_price}


def order_body(customer, items, method="wallet", token=None):
    body = {"customer_id": customer, "items": items, "shipping_address": ADDRESS, "payment_method": method}
    if token:
        body["payment_token"] = token
    return body


def money(amount):
    return f"{amount:,} JPY"


class Tour:
    def __init__(self):
        environment = os.environ
        self.screen = Screen()
        self.client = Client(environment["TXC_URL"])
        self.admin = Client(environment["TXC_ADMIN_URL"])
        self.coordinator = Coordinator(environment["TXC_STATE"], self.client)
        self.program = environment["TXC_BIN"]
        self.config = str(pathlib.Path(environment["TXC_STATE"]) / "txcoord.toml")
        self.databases = {name: Database(environment["TXC_PSQL"], environment[f"TXC_DSN_{name.upper()}"])
                          for name in (*SERVICES, "log")}
        self.run_id = uuid.uuid4().hex[:8]

    # --- what the databases hold ------------------------------------------------------------------

    def key(self, name):
        return f"tour-{self.run_id}-{name}"

    def stock(self, sku):
        """(available, reserved)"""
        row = self.databases["inventory"].rows(
            "SELECT available, reserved FROM inventory WHERE sku = :'sku'", sku=sku)[0]
        return row["available"], row["reserved"]

    def balance(self, customer):
        return self.databases["payment"].one(
            "SELECT balance FROM wallets WHERE customer_id = :'customer'", customer=customer)

    def business_rows(self):
        """How many rows orders have left in each database: what a refusal must not change."""
        tables = {"order": ("orders", "order_items", "events"), "inventory": ("reservations", "events"),
                  "payment": ("payments", "events"), "shipping": ("shipments", "events")}
        return {service: self.databases[service].one(
            "SELECT " + " + ".join(f"(SELECT count(*) FROM {name})" for name in names))
            for service, names in tables.items()}

    def world(self):
        """All that an order could change; compared before and after what must change nothing."""
        return (self.business_rows(),
                self.databases["inventory"].rows("SELECT sku, available, reserved FROM inventory ORDER BY sku"),
                self.databases["payment"].rows("SELECT customer_id, balance FROM wallets ORDER BY customer_id"))

    def prepared(self):
        """The global transactions in doubt, by service."""
        return {service: [row["gid"].removesuffix("_" + service) for row in self.databases[service].rows(PREPARED)]
                for service in SERVICES}

    def order_rows(self, order_id):
        """What each database holds of one order."""
        read = {
            "order": "SELECT status, total_amount, (SELECT count(*) FROM order_items i WHERE i.order_id = o.order_id)"
                     " AS items FROM orders o WHERE order_id = :'id'::uuid",
            "inventory": "SELECT sku, quantity, status FROM reservations WHERE order_id = :'id'::uuid ORDER BY sku",
            "payment": "SELECT amount, payment_method, status FROM payments WHERE order_id = :'id'::uuid",
            "shipping": "SELECT status, carrier, tracking_number FROM shipments WHERE order_id = :'id'::uuid"}
        return {service: self.databases[service].rows(sql, id=order_id) for service, sql in read.items()}

    # --- parts of steps ---------------------------------------------------------------------------

    def place(self, name, body, key=None):
        """Places an order and shows both sides of the conversation."""
        key = key or self.key(name)
        lines = ", ".join(f"{i['quantity']} × {i['sku']}" for i in body["items"])
        paid = body["payment_method"] + (f" ({body['payment_token']})" if "payment_token" in body else "")
        self.screen.quote(f"POST /v1/orders   Idempotency-Key: {key}\n"
                          f"     {body['customer_id']} orders {lines}, paid by {paid}", "36")
        answer = self.client.call("POST", "/v1/orders", body, key)
        self.show_answer(answer)
        return answer

    def show_answer(self, answer):
        if answer.status in (200, 201, 202):
            text = f"{answer.status}  {answer.get('status')}  order {answer.get('order_id')}"
            if answer.get("total_amount") is not None:
                text += f"  {money(answer.get('total_amount'))}"
        else:
            text = f"{answer.status}  {answer.get('reason')}: {answer.get('detail')}"
        self.screen.quote(text + ("   (Idempotency-Replayed: true)" if answer.replayed else ""), "33")

    def show_order(self, order_id):
        """Waits until the order is applied everywhere, then shows its rows side by side."""
        try:
            wait_for("the order to be applied", SETTLED_WITHIN_S,
                     lambda: self.client.call("GET", f"/v1/orders/{order_id}").get("applied") is True)
        except TimeoutError:
            pass  # the checks below say what is missing
        rows = self.order_rows(order_id)
        self.screen.columns([
            ["order.orders"] + [line for r in rows["order"] for line in
                                (r["status"], money(r["total_amount"]), f"{r['items']} in order_items")],
            ["inventory.reservations"] + [f"{r['quantity']} × {r['sku']} {r['status']}" for r in rows["inventory"]],
            ["payment.payments"] + [line for r in rows["payment"] for line in
                                    (r["status"], money(r["amount"]), r["payment_method"])],
            ["shipping.shipments"] + [line for r in rows["shipping"] for line in
                                      (r["status"], r["carrier"], r["tracking_number"])]])
        return rows

    def check_confirmed(self, order_id, amount):
        """The order is there, whole, in all four databases (I1)."""
        rows = self.show_order(order_id)
        order, payment = rows["order"], rows["payment"]
        whole = (len(order) == 1 and order[0]["status"] == "CONFIRMED" and order[0]["total_amount"] == amount
                 and len(rows["inventory"]) == order[0]["items"]
                 and all(r["status"] == "RESERVED" for r in rows["inventory"])
                 and len(payment) == 1 and payment[0]["amount"] == amount
                 and payment[0]["status"] in ("AUTHORIZED", "CAPTURED")
                 and len(rows["shipping"]) == 1 and rows["shipping"][0]["status"] == "ARRANGED")
        self.screen.check(whole, "the order is in all four databases, whole")

    def check_refused(self, answer, reason, before):
        self.screen.check(answer.status == 409 and answer.get("reason") == reason,
                          f"refused with 409 and reason {reason}")
        self.screen.check(self.world() == before, "no row, no stock and no money changed in any of the four databases")

    def show_in_doubt(self):
        """The coordinator is dead: four listings. Returns the global transaction."""
        for service in SERVICES:
            self.screen.quote(f"txcoord_{service}=> SELECT gid, prepared FROM pg_prepared_xacts;", "36")
            self.screen.quote(self.databases[service].listing(PREPARED))
        prepared = self.prepared()
        gids = {gid for listed in prepared.values() for gid in listed}
        self.screen.check(len(gids) == 1 and all(len(listed) == 1 for listed in prepared.values()),
                          "one global transaction, prepared in all four databases, and nobody to finish it")
        return gids.pop() if gids else ""

    def kill_at(self, point, body, key):
        """Places an order with a coordinator that SIGKILLs itself at the crash point and stays down."""
        self.screen.say(f"(restarting the coordinator with TXCOORD_CRASH_AT={point} …)")
        self.coordinator.restart_armed(point)
        self.screen.quote(f"POST /v1/orders   Idempotency-Key: {key}", "36")
        try:
            self.show_answer(self.client.once("POST", "/v1/orders", body, key))
            lost = False
        except ConnectionLost as error:
            self.screen.quote(f"(no answer: {error})", "33")
            lost = True
        self.coordinator.wait_dead()
        self.screen.check(lost, "the coordinator is dead; its client got no answer and does not know what became of it")

    def recover(self):
        """Lets the coordinator start again; checks that nothing stays prepared (I7)."""
        self.coordinator.release()
        wait_for("the coordinator to start", 15, lambda: self.coordinator.pid() is not None)
        seconds = wait_for("recovery", 30, lambda: not any(self.prepared().values()))
        self.screen.check(seconds <= SETTLED_WITHIN_S,
                          f"nothing is prepared any more in any database, {seconds:.1f} s after its process started")
        wait_for("the coordinator to be ready", 30, self.coordinator.ready)

    # --- the steps --------------------------------------------------------------------------------

    def open_shop(self):
        self.screen.step(1, STEPS, "CloudMart opens")
        self.screen.say("Four services, each with its own PostgreSQL database: order, inventory, payment and shipping. "
                        "An order changes all four, or none: a coordinator runs two-phase commit over them. First the "
                        "shop's stock and its customers' wallets are set, over REST.")
        for sku, price, available in (("book-123", 3500, 5), ("book-456", 8000, 0), ("book-789", 2800, 10)):
            self.client.call("PUT", f"/v1/inventory/{sku}", {"unit_price": price, "available": available})
        for customer, balance in (("customer-001", 1_000_000), ("customer-002", 1_000_000), ("customer-003", 1_000)):
            self.client.call("PUT", f"/v1/wallets/{customer}", {"balance": balance})
        self.screen.quote(self.databases["inventory"].listing(
            "SELECT sku, title, unit_price, available, reserved FROM inventory WHERE sku LIKE 'book-%' ORDER BY sku"))
        self.screen.quote(self.databases["payment"].listing(
            "SELECT customer_id, balance FROM wallets WHERE customer_id LIKE 'customer-00%' ORDER BY customer_id"))
        self.screen.check([self.stock(sku)[0] for sku in ("book-123", "book-456", "book-789")] == [5, 0, 10],
                          "5, 0 and 10 books are available")
        self.screen.check([self.balance(f"customer-00{n}") for n in (1, 2, 3)] == [1_000_000, 1_000_000, 1_000],
                          "the wallets hold 1,000,000, 1,000,000 and 1,000 JPY")

    def confirmed(self):
        self.screen.step(2, STEPS, "An order that goes through")
        self.screen.say("All four services look at their own locked rows and vote yes; all four PREPARE; the coordinator "
                        "writes its decision to the log; all four COMMIT PREPARED.")
        (available, reserved), balance = self.stock("book-123"), self.balance("customer-001")
        body = order_body("customer-001", [item("book-123", 2, 3500), item("book-789", 1, 2800)])
        answer = self.place("confirmed", body)
        self.screen.check(answer.status == 201 and answer.get("status") == "CONFIRMED", "answered 201 CONFIRMED")
        if answer.status == 201:
            self.check_confirmed(answer.get("order_id"), 9800)
        self.screen.check(self.stock("book-123") == (available - 2, reserved + 2),
                          f"book-123: available {available} → {available - 2}, reserved {reserved} → {reserved + 2}")
        self.screen.check(self.balance("customer-001") == balance - 9800,
                          f"customer-001's wallet: {money(balance)} → {money(balance - 9800)}")

    def same_key(self):
        self.screen.step(3, STEPS, "The same request again: one effect")
        self.screen.say("A client that is not sure sends the same Idempotency-Key again. Here ten clients send one order "
                        "at once, by card this time (who is told that it is under way asks again), then it is sent "
                        "once more, then with another body.")
        before, key = self.stock("book-789"), self.key("ten-at-once")
        body = order_body("customer-002", [item("book-789", 1, 2800)], "card", "tok_ok")
        answers = []

        def send():
            try:
                answers.append(self.client.call("POST", "/v1/orders", body, key))
            except ConnectionLost:
                pass  # counted below: fewer than ten answers

        threads = [threading.Thread(target=send) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        again = self.place("", body, key)
        placed = {a.get("order_id") for a in answers if a.status == 201}
        self.screen.check(len(answers) == 10 and len(placed) == 1 and all(a.status == 201 for a in answers),
                          "ten answers: 201, and all of them name one order")
        self.screen.check(again.status == 201 and again.replayed and placed == {again.get("order_id")},
                          "once more: the same order again, marked as a replay")
        if again.status == 201:
            self.check_confirmed(again.get("order_id"), 2800)
        self.screen.check(self.stock("book-789") == (before[0] - 1, before[1] + 1), "one book was reserved, not eleven")
        other = self.place("", order_body("customer-002", [item("book-789", 3, 2800)]), key)
        self.screen.check(other.status == 422 and other.get("reason") == "KEY_REUSED",
                          "another order under the same key is refused with 422")

    def out_of_stock(self):
        self.screen.step(4, STEPS, "Out of stock")
        self.screen.say("Nothing is left of book-456. Inventory votes no, the other three vote yes: nothing is prepared.")
        before = self.world()
        answer = self.place("out-of-stock", order_body("customer-001", [item("book-123", 1, 3500), item("book-456", 1, 8000)]))
        self.check_refused(answer, "OUT_OF_STOCK", before)

    def payment_refused(self):
        self.screen.step(5, STEPS, "Payment refused")
        self.screen.say("The books are there, the money is not: customer-003 has 1,000 JPY; then a card is declined.")
        before = self.world()
        answer = self.place("poor", order_body("customer-003", [item("book-123", 1, 3500)]))
        self.check_refused(answer, "INSUFFICIENT_FUNDS", before)
        answer = self.place("declined", order_body("customer-002", [item("book-123", 1, 3500)], "card", "tok_declined"))
        self.check_refused(answer, "CARD_DECLINED", before)

    def killed_before_decision(self):
        self.screen.step(6, STEPS, "Killed between PREPARE and the decision")
        self.screen.say("The worst moment of two-phase commit. Every database has promised to commit, then the coordinator "
                        "is killed (SIGKILL) before it writes its decision, and stays down while we look.")
        before, key = self.world(), self.key("undecided")
        body = order_body("customer-001", [item("book-123", 1, 3500)])
        self.kill_at("prepare.after", body, key)
        gid = self.show_in_doubt()
        decided = "SELECT gid, outcome FROM decisions WHERE gid = :'gid'"
        self.screen.quote("txcoord_log=> SELECT gid, outcome FROM decisions WHERE gid = …;", "36")
        self.screen.quote(self.databases["log"].listing(decided, gid=gid))
        self.screen.check(not self.databases["log"].rows(decided, gid=gid), "the log holds no decision")
        free = self.databases["inventory"].rows_free("SELECT sku FROM inventory WHERE sku = 'book-123'")
        self.screen.check(free == [], "book-123's row is locked: nobody can sell it twice meanwhile")
        self.screen.say("No decision means abort. The coordinator starts again, first makes that certain (it writes an abort "
                        "under the same key, so that no late decision can follow), then rolls back all four.")
        self.recover()
        self.screen.quote(self.databases["log"].listing(decided, gid=gid))
        self.screen.check(self.databases["log"].one("SELECT outcome FROM decisions WHERE gid = :'gid'", gid=gid) == "abort",
                          "the log says abort")
        self.screen.check(self.world() == before, "rolled back: no row, no stock and no money changed anywhere")
        self.screen.say("The client repeats its request with the same key. Nothing had happened, so it happens now:")
        answer = self.place("", body, key)
        self.screen.check(answer.status == 201 and not answer.replayed, "answered 201, for the first time")
        if answer.status == 201:
            self.check_confirmed(answer.get("order_id"), 3500)

    def killed_after_decision(self):
        self.screen.step(7, STEPS, "Killed between the decision and COMMIT PREPARED")
        self.screen.say("Now the coordinator is killed one moment later: the decision is durable in the log, and no "
                        "database has heard of it.")
        (available, reserved), key = self.stock("book-123"), self.key("decided")
        body = order_body("customer-001", [item("book-123", 1, 3500)])
        self.kill_at("decide.after", body, key)
        gid = self.show_in_doubt()
        decided = "SELECT gid, outcome, participants, completed_at FROM decisions WHERE gid = :'gid'"
        self.screen.quote("txcoord_log=> SELECT gid, outcome, participants, completed_at FROM decisions WHERE gid = …;", "36")
        self.screen.quote(self.databases["log"].listing(decided, gid=gid))
        rows = self.databases["log"].rows(decided, gid=gid)
        self.screen.check(len(rows) == 1 and rows[0]["outcome"] == "commit" and rows[0]["completed_at"] is None,
                          "the log holds the decision: commit, in all four; not completed")
        order_id = self.databases["log"].one(
            "SELECT order_id FROM operations WHERE idempotency_key = :'key'", key=key)
        self.screen.say("A decision is kept, whoever dies. The coordinator starts again and commits all four.")
        self.recover()
        self.check_confirmed(order_id, 3500)
        self.screen.check(self.stock("book-123") == (available - 1, reserved + 1),
                          f"book-123: available {available} → {available - 1}, reserved {reserved} → {reserved + 1}")
        self.screen.say("The client repeats its request with the same key, and learns what was decided:")
        answer = self.place("", body, key)
        self.screen.check(answer.status == 201 and answer.replayed and answer.get("order_id") == order_id,
                          "answered 201 with the same order, marked as a replay")
        self.screen.check(self.stock("book-123") == (available - 1, reserved + 1), "and the book was not reserved again")

    def things(self):
        """Stock and money: what an undone saga must leave as it was."""
        return self.world()[1:]

    def show_saga(self, saga_id):
        """What the log holds of it, as psql shows it."""
        self.screen.quote("txcoord_log=> SELECT status, step AS next FROM saga_history WHERE saga_id = …;", "36")
        self.screen.quote(self.databases["log"].listing(
            "SELECT status, step AS next FROM saga_history WHERE saga_id = :'id'::uuid ORDER BY at", id=saga_id))

    def events(self, order_id):
        """An order's events over all four services, in the order in which they were committed."""
        order = self.client.call("GET", f"/v1/orders/{order_id}")
        return [entry["type"] for entry in order.get("timeline") or [] if entry["service"] in SERVICES]

    def saga(self):
        self.screen.step(8, STEPS, "The same order as a saga")
        self.screen.say('With "mode": "saga" the same order is five local commits, one after the other, and no PREPARE: create, '
                        "reserve, charge, arrange, confirm. Each state is durable in the log before the next step.")
        body = order_body("customer-001", [item("book-789", 1, 2800)]) | {"mode": "saga"}
        answer = self.place("saga", body)
        self.screen.check(answer.status == 201 and answer.get("mode") == "saga", "answered 201 CONFIRMED when it was completed")
        if answer.status == 201:
            self.show_saga(answer.get("transaction_id"))
            self.check_confirmed(answer.get("order_id"), 2800)
        self.screen.say("Now the carrier refuses (a fault on purpose, set on the admin port). By then the order stands, the book "
                        "is reserved and the money is taken: all of it is undone, in reverse.")
        before = self.things()
        self.admin.call("PUT", "/admin/v1/faults/shipping", {"failure_rate": 1, "mode": "refuse"})
        answer = self.place("saga-refused", body)
        self.admin.call("DELETE", "/admin/v1/faults/shipping")
        self.screen.check(answer.status == 409 and answer.get("reason") == "CARRIER_UNAVAILABLE",
                          "refused with 409 and reason CARRIER_UNAVAILABLE")
        order_id = self.databases["log"].one(
            "SELECT order_id FROM operations WHERE idempotency_key = :'key'", key=self.key("saga-refused"))
        events = self.events(order_id)
        self.screen.quote("GET /v1/orders/…: " + " → ".join(events), "33")
        self.screen.check(events == ["OrderCreated", "StockReserved", "PaymentCaptured", "PaymentRefunded", "StockReleased",
                                     "OrderFailed"], "undone in reverse: refunded, released, failed")
        self.screen.check(self.things() == before, "no stock and no money is missing; but for a moment others could see it gone")

    def saga_killed(self):
        self.screen.step(9, STEPS, "Killed in the middle of a saga")
        self.screen.say("The coordinator is killed when the money is taken and nobody has written that down. Nothing is locked "
                        "meanwhile: that is what a saga buys. What it costs: the order stands half done, for all to see.")
        key, body = self.key("saga-killed"), order_body("customer-001", [item("book-789", 1, 2800)]) | {"mode": "saga"}
        self.kill_at("saga.payment.charge.after", body, key)
        order_id = self.databases["log"].one(
            "SELECT order_id FROM saga_instances WHERE idempotency_key = :'key'", key=key)
        rows = self.order_rows(order_id)
        self.screen.check(rows["order"][0]["status"] == "PENDING" and len(rows["inventory"]) == 1
                          and len(rows["payment"]) == 1 and not rows["shipping"],
                          "the order is PENDING, the book reserved, the money taken, and there is no shipment")
        self.screen.check(not any(self.prepared().values()), "nothing is prepared in any database")
        self.screen.say("The coordinator starts again, adopts the saga, and asks for the charge once more: the barrier beside the "
                        "payment says that it was done, so it is not done twice.")
        self.recover()
        wait_for("the saga to end", SETTLED_WITHIN_S,
                 lambda: self.client.call("GET", f"/v1/orders/{order_id}").get("status") != "PENDING")
        self.check_confirmed(order_id, 2800)
        answer = self.place("", body, key)
        self.screen.check(answer.status == 201 and answer.replayed and answer.get("order_id") == order_id,
                          "the client repeats its request: 201, the same order, marked as a replay")

    def totals(self):
        self.screen.step(10, STEPS, "The books balance")
        self.screen.say("Whatever was refused, killed and repeated: every book and every yen is accounted for, and an "
                        "independent audit reads all five databases.")
        inventory, payment, order = (self.databases[name] for name in ("inventory", "payment", "order"))
        books = inventory.rows("SELECT (SELECT sum(delta) FROM stock_ledger) AS ledger, sum(available) AS available,"
                               " sum(reserved) AS reserved, sum(shipped) AS shipped FROM inventory")[0]
        self.screen.check(books["ledger"] == books["available"] + books["reserved"] + books["shipped"],
                          f"books: {books['ledger']} came in = {books['available']} available + {books['reserved']} "
                          f"reserved + {books['shipped']} shipped")
        yen = payment.rows("SELECT (SELECT sum(delta) FROM wallet_ledger) AS ledger, sum(balance) AS balance,"
                           " (SELECT coalesce(sum(amount), 0) FROM payments WHERE payment_method = 'wallet'"
                           " AND status = 'CAPTURED') AS paid FROM wallets")[0]
        self.screen.check(yen["ledger"] == yen["balance"] + yen["paid"],
                          f"wallets: {money(yen['ledger'])} came in = {money(yen['balance'])} left + "
                          f"{money(yen['paid'])} paid")
        sold = order.one("SELECT coalesce(sum(total_amount), 0) FROM orders"
                         " WHERE status IN ('CONFIRMED', 'SHIPPED', 'DELIVERED')")
        taken = payment.one("SELECT coalesce(sum(amount), 0) FROM payments WHERE status IN ('AUTHORIZED', 'CAPTURED')")
        self.screen.check(sold == taken, f"orders: {money(sold)} sold = {money(taken)} taken by wallet and card")
        audit = subprocess.run([self.program, "audit", "--config", self.config], capture_output=True, text=True,
                               timeout=120, check=False)
        self.screen.quote("$ txcoord audit --config txcoord.toml", "36")
        self.screen.quote(audit.stdout + audit.stderr)
        self.screen.check(audit.returncode == 0, "txcoord audit finds no violation")

    def run(self):
        for step in (self.open_shop, self.confirmed, self.same_key, self.out_of_stock, self.payment_refused,
                     self.killed_before_decision, self.killed_after_decision, self.saga, self.saga_killed,
                     self.totals):
            step()


def main():
    tour = Tour()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        tour.run()
    except (ConnectionLost, TimeoutError, RuntimeError, json.JSONDecodeError, subprocess.SubprocessError) as error:
        tour.screen.check(False, f"the tour broke off: {type(error).__name__}: {error}")
    finally:
        tour.coordinator.leave()
    screen = tour.screen
    print()
    if screen.failures:
        print(screen.paint("1;31", f"{len(screen.failures)} of {screen.checked} checks failed:"))
        for failure in screen.failures:
            print(f"  ✗ {failure}")
        return 1
    print(screen.paint("1;32", f"All {screen.checked} checks held."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
