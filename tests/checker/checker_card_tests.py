"""Cards that went wrong, planted: what the independent checker says of each."""
import unittest

from checker_world import SagaWorld


class CardRules(unittest.TestCase):
    def setUp(self):
        self.world = SagaWorld()
        self.addCleanup(self.world.close)

    def card(self, status, said, errands=(), reversed_there=True):
        """An order paid by card, its processor's books, and what is to be told still. Returns the order."""
        world = self.world
        order = world.place()
        world.run("payment", f"""
            UPDATE payments SET payment_method = 'card', status = '{status}', provider_reference = 'a1'
             WHERE order_id = '{order}';
            UPDATE wallets w SET balance = balance + p.amount FROM payments p
             WHERE p.order_id = '{order}' AND p.customer_id = w.customer_id;
            INSERT INTO card_processor_authorizations (request_key, authorization_id, amount, state)
            SELECT 'k1', 'a1', amount, '{said}' FROM payments WHERE order_id = '{order}'""")
        for action in errands:
            world.run("payment", f"""
                INSERT INTO card_outbox (payment_id, order_id, customer_id, action, provider_reference)
                SELECT payment_id, order_id, customer_id, '{action}', 'a1' FROM payments
                 WHERE order_id = '{order}'""")
        return order

    def test_a_card_payment_that_the_processor_knows_otherwise_is_named(self):
        order = self.card("CAPTURED", "REFUNDED")
        self.assertEqual(self.world.found(), {("I6", "card_books_differ", order)})

    def test_a_card_payment_as_the_processor_has_it_is_clean(self):
        self.card("CAPTURED", "CAPTURED")
        self.assertEqual(self.world.found(), set())

    def test_what_is_still_to_be_told_is_not_judged(self):
        self.card("AUTHORIZED", "CAPTURED", errands=("CAPTURE",))
        self.assertEqual(self.world.found(), set())

    def test_money_that_is_held_for_nothing_is_named(self):
        self.world.run("payment", "INSERT INTO card_processor_authorizations (request_key, authorization_id, amount,"
                                  " state) VALUES ('k2', 'a2', 5, 'AUTHORIZED')")
        self.assertEqual(self.world.found(), {("I6", "card_held_for_nothing", "k2")})

    def test_an_errand_that_was_refused_is_named(self):
        order = self.card("AUTHORIZED", "VOIDED", errands=("CAPTURE",))
        self.world.run("payment", "UPDATE card_outbox SET answer = 'VOIDED', refused_at = now()")
        self.assertEqual(self.world.found(), {("I1", "card_errand_refused", order)})
