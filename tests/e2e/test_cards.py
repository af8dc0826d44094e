"""Cards on the whole system: what the processor did is what payments say, whoever died in between; and
captures need nobody but the payment database."""
import random
import time
import unittest

import stack as harness
from load import Client, Load, Memory, Modes, Shop, drive, place
from servers import wait_until
from verdict import verify

SECONDS_OF_KILLS = 30.0 if harness.THOROUGH else 10.0
SECONDS_TO_TELL = 40.0  # what is put aside when its teller died comes back after its pause


class CapturesGoOn(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.coordinator = self.stack.coordinator().start()
        self.payment = self.stack.databases["payment"]
        shop = Shop(self.coordinator.port)
        client, memory = Client(self.coordinator.port), Memory()
        self.addCleanup(client.close)
        drive(client, memory, place(shop.order(sorted(shop.products)[:1], method="card", token="tok_ok")))
        self.captured()

    def captured(self):
        wait_until("the card is captured", lambda: self.payment.query(
            "SELECT 1 FROM payments WHERE status = 'CAPTURED'") and not self.payment.query(
            "SELECT 1 FROM card_outbox"), 15)

    def due_again(self):
        """As the branch that placed the order left it."""
        self.payment.query("UPDATE card_processor_authorizations SET state = 'AUTHORIZED'")
        self.payment.query("UPDATE payments SET status = 'AUTHORIZED'")
        self.payment.query("INSERT INTO card_outbox (payment_id, order_id, customer_id, action, provider_reference)"
                           " SELECT payment_id, order_id, customer_id, 'CAPTURE', provider_reference FROM payments")

    def goes_on_without(self, name):
        database = self.stack.databases[name]
        database.stop()
        try:
            self.due_again()
            self.captured()
        finally:
            database.start()
        self.coordinator.wait_ready()

    def test_while_another_participant_is_away(self):
        self.goes_on_without("inventory")

    def test_while_the_log_is_away(self):
        self.goes_on_without("log")

    def test_a_capture_that_the_processor_refuses_is_counted_and_in_nobodys_way(self):
        self.due_again()
        self.payment.query("UPDATE card_processor_authorizations SET state = 'VOIDED'")
        wait_until("it is shown", lambda: self.coordinator.metric("txcoord_card_errands_refused") == 1, 10)
        self.assertEqual([("AUTHORIZED",)], self.payment.query("SELECT status FROM payments"))
        report = self.stack.run("audit", self.coordinator).stdout
        self.assertIn("card_errand_refused", report)


class Cards(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.seed = harness.seed_of_this_run()

    def all_told(self):
        query = self.stack.databases["payment"].query
        wait_until("the processor knows all", lambda: not query("SELECT 1 FROM card_outbox LIMIT 1")
                   and not query("SELECT 1 FROM card_authorizations LIMIT 1"), SECONDS_TO_TELL)

    def test_the_processors_books_agree_with_payments_after_kills(self):
        coordinators = [self.stack.coordinator(name, harness.SHORT_LEASE).start() for name in ("c1", "c2")]
        shop, rnd = Shop(coordinators[0].port), random.Random(self.seed)
        load = Load([c.port for c in coordinators], shop, 8, self.seed,
                    {"card": 55, "cancel": 30, "declined": 8, "plain": 7}, modes=Modes.ALL)
        end = time.monotonic() + SECONDS_OF_KILLS
        while time.monotonic() < end:
            time.sleep(rnd.uniform(0.3, 1.5))  # the moment of the kill, not a wait
            victim = rnd.choice(coordinators)
            victim.kill()
            victim.start(ready=False)
        for coordinator in coordinators:
            coordinator.wait_ready()
        memory = load.stop(25)
        self.stack.sagas_ended(20)
        self.all_told()
        verify(self.stack, coordinators[0], memory)
        given_back = self.stack.databases["payment"].query(
            "SELECT count(*) FROM payments WHERE status IN ('VOIDED', 'REFUNDED')")
        self.assertGreater(given_back[0][0], 0, "no card order was cancelled: nothing was tested")

    def test_an_order_that_expires_while_it_is_undone_has_one_reason(self):
        settings = {**harness.SHORT_LEASE, "saga.reservation_ttl_s": 1}
        coordinators = [self.stack.coordinator(name, settings).start() for name in ("c1", "c2")]
        shop = Shop(coordinators[0].port)
        for coordinator in coordinators:
            coordinator.set_fault("payment", delay_ms=700)
        load = Load([c.port for c in coordinators], shop, 16, self.seed,
                    {"plain": 30, "declined": 50, "poor": 20}, modes={("saga", False): 80, ("saga", True): 20})
        expired = "SELECT 1 FROM orders WHERE reason = 'RESERVATION_EXPIRED' LIMIT 1"
        wait_until("reservations expire", lambda: self.stack.databases["order"].query(expired), 20)
        coordinators[0].kill()
        coordinators[0].start(ready=False)
        refused = "SELECT 1 FROM orders WHERE reason = 'CARD_DECLINED' LIMIT 1"
        wait_until("cards are declined", lambda: self.stack.databases["order"].query(refused), 20)
        for coordinator in coordinators:
            coordinator.wait_ready()
            coordinator.clear_faults()
        memory = load.stop(25)
        verify(self.stack, coordinators[0], memory, sagas_end=20)


if __name__ == "__main__":
    harness.main()
