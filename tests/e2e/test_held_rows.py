"""A row that somebody else holds costs those who need it, and nobody else: locked by a person's session, or by
a coordinator that is stopped. With the shipped defaults for waits and leases."""
import collections
import signal
import threading
import time
import unittest

import psycopg

import stack as harness
from load import Client, ConnectionLost, Memory, Shop, cancel, drive, place, send
from servers import wait_until

ORDERS = 40  # of the others while the row is held: a bound on work, not on time
HELD_SECONDS_MAX = 6


class HeldRows(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)

    def hold(self, database, sql, *values):
        session = psycopg.connect(self.stack.databases[database].dsn)
        self.addCleanup(session.close)
        session.execute(sql, values)
        return session

    def others_go_on(self, port, shop, mode):
        """ORDERS orders of other customers for other products, all confirmed; the seconds that they took."""
        skus, confirmed, guard = sorted(shop.products), [], threading.Lock()

        def client(n):
            connection = Client(port, timeout=20)
            for _ in range(ORDERS // 4):
                request = place(shop.order([skus[n + 2]], customer=shop.customers[n + 2]), mode=mode)
                answer = send(connection, Memory(), request)
                with guard:
                    confirmed.append((answer.status, answer.reason))
            connection.close()
        start = time.monotonic()
        threads = [threading.Thread(target=client, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(collections.Counter(confirmed), {(201, None): ORDERS})
        return time.monotonic() - start

    def test_a_locked_row_holds_up_its_own_orders_alone(self):
        coordinator = self.stack.coordinator().start()
        shop = Shop(coordinator.port)
        skus = sorted(shop.products)
        placed = drive(Client(coordinator.port), Memory(),
                       place(shop.order([skus[0]], customer=shop.customers[0])))
        order = placed.order_id
        held = {
            "a wallet": ("payment", "SELECT FROM wallets WHERE customer_id = %s FOR UPDATE", shop.customers[0]),
            "a product": ("inventory", "SELECT FROM inventory WHERE sku = %s FOR UPDATE", skus[0]),
            "an order": ("order", "SELECT FROM orders WHERE order_id = %s FOR UPDATE", order),
            "a payment": ("payment", "SELECT FROM payments WHERE order_id = %s FOR UPDATE", order),
            "a reservation": ("inventory", "SELECT FROM reservations WHERE order_id = %s FOR UPDATE", order),
            "a shipment": ("shipping", "SELECT FROM shipments WHERE order_id = %s FOR UPDATE", order),
        }
        for mode in ("2pc", "saga"):
            for what in list(held):
                database, sql, value = held[what]
                with self.subTest(mode=mode, held=what):
                    session = self.hold(database, sql, value)
                    memory = Memory()
                    waiting = (place(shop.order([skus[0]], customer=shop.customers[0]), mode=mode)
                               if what in ("a wallet", "a product") else cancel(order))
                    answers = []
                    asking = threading.Thread(target=lambda w=waiting, a=answers, m=memory: a.append(
                        send(Client(coordinator.port, timeout=20), m, w)))
                    asking.start()
                    spent = self.others_go_on(coordinator.port, shop, mode)
                    session.rollback()
                    asking.join(20)
                    self.assertFalse(asking.is_alive(), "the order that needs the row is never answered")
                    self.assertLess(spent, HELD_SECONDS_MAX, "the others waited for a row that they do not need")
                    # 201 or 200 when the row came free in time; otherwise told to come again, or asked later.
                    self.assertIn(answers[0].status, (200, 201, 202, 503), answers[0].json)
                    self.assertNotIn(answers[0].reason, ("UNKNOWN_SKU", "UNKNOWN_CUSTOMER", "NOT_FOUND"))
                    final = drive(Client(coordinator.port), memory, waiting)
                    self.assertEqual("confirmed", final.outcome, final)
                    if waiting.kind == "cancel":  # the next round holds a new order's rows
                        placed = drive(Client(coordinator.port), Memory(),
                                       place(shop.order([skus[0]], customer=shop.customers[0])))
                        order = placed.order_id
                        held.update({name: (where, text, order) for name, (where, text, _) in held.items()
                                     if "order_id" in text})
        self.stack.sagas_ended()

    def test_a_stopped_coordinator_does_not_stop_the_other(self):
        first, second = (self.stack.coordinator(name).start() for name in ("c1", "c2"))
        shop = Shop(first.port)
        skus, stop = sorted(shop.products), threading.Event()

        def busy(port):
            client = Client(port, timeout=30)
            while not stop.is_set():
                try:
                    send(client, Memory(), place(shop.order([skus[0]], customer=shop.customers[0])))
                except ConnectionLost:
                    pass
        threads = [threading.Thread(target=busy, args=(first.port,), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()

        def holds_rows():
            open_work = [row for name in harness.PARTICIPANTS for row in self.stack.databases[name].query(
                "SELECT 1 FROM pg_stat_activity WHERE state LIKE 'idle in trans%%'")]
            return open_work or any(self.stack.prepared().values())
        wait_until("the first coordinator is at work", holds_rows, 10)
        first.signal(signal.SIGSTOP)
        for mode in ("2pc", "saga"):
            spent = self.others_go_on(second.port, shop, mode)
            self.assertLess(spent, HELD_SECONDS_MAX, f"{mode}: held up by a coordinator that is stopped")
        stop.set()
        first.signal(signal.SIGCONT)
        for thread in threads:
            thread.join(40)
            self.assertFalse(thread.is_alive())
        self.stack.settled(15)
        self.stack.sagas_ended(20)


if __name__ == "__main__":
    harness.main()
