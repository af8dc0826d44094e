"""What is ours in the log is at work, or is found: the answer to each write about ownership is lost, one
after the other, and every saga ends. And one row that fails stops nobody else's."""
import threading
import unittest

import psycopg

import stack as harness
from load import Client, Memory, Shop, drive, place, send
from servers import wait_until
from verdict import verify
from wire import LOSE_ANSWER, PASS, Tap

SAGAS = "txcoord-log-sagas"  # the sessions that start sagas and record their states
ORPHANED = 12.0              # a lost saga is found after 2 s, by the next look, and then runs


def is_call(turn, statement):
    return statement in turn.text and not turn.text.startswith("parse ")


def starts_begin(turn):
    return turn.application == SAGAS and turn.text.startswith("BEGIN")


def starts_commit(turn):
    return turn.application == SAGAS and turn.text.endswith("COMMIT")


class Ownership(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.direct = self.stack.coordinator("c1", harness.SHORT_LEASE)  # migrates
        self.tap = Tap(self.stack)
        self.addCleanup(self.tap.close)
        self.log = self.stack.databases["log"]
        self.memory = Memory()
        self.met = []

    def tapped(self, **settings):
        self.direct.configure({**self.tap.settings(), **settings})
        coordinator = self.direct.start()
        self.visit(coordinator)
        return coordinator

    def visit(self, coordinator):
        self.shop = Shop(coordinator.port)
        self.client = Client(coordinator.port)
        self.addCleanup(self.client.close)
        drive(self.client, self.memory, self.order())  # opens sessions, parses statements

    def order(self, **how):
        return place(self.shop.order(sorted(self.shop.products)[:1]), **{"mode": "saga", **how})

    def lose(self, wanted, times=1):
        """The answers of the next turns of this kind are lost."""
        self.met = []

        def rule(turn):
            if len(self.met) >= times or not wanted(turn):
                return PASS
            self.met.append(turn)
            return LOSE_ANSWER
        self.tap.rule = rule

    def ends_well(self, coordinator, seconds=ORPHANED):
        self.stack.sagas_ended(seconds)
        self.stack.settled()
        verify(self.stack, coordinator, self.memory)

    def test_start_acknowledged_by_nobody_is_repeated(self):
        coordinator = self.tapped()
        for accept in (False, True):
            with self.subTest(accept=accept):
                self.lose(starts_commit)
                answer = send(self.client, self.memory, self.order(accept=accept))
                self.assertEqual(202 if accept else 201, answer.status, answer.json)
                self.assertEqual(1, len(self.met))
        self.ends_well(coordinator)

    def test_start_that_stands_is_found_though_the_next_try_certainly_fails(self):
        coordinator = self.tapped()
        tries = []

        def rule(turn):
            if starts_commit(turn):
                tries.append(turn)
                return LOSE_ANSWER if len(tries) == 1 else PASS
            if starts_begin(turn) and len(tries) == 1:
                tries.append(turn)
                self.log.query(
                    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                    " $$ BEGIN RAISE EXCEPTION 'nothing now'; END $$")
                self.log.query("CREATE TRIGGER refuse BEFORE INSERT ON operations"
                                      " FOR EACH STATEMENT EXECUTE FUNCTION refuse()")
            return PASS
        self.tap.rule = rule
        request = self.order()
        answer = send(self.client, self.memory, request)
        self.assertEqual(202, answer.status, "what may stand is never told as: nothing was done")
        self.log.query("DROP TRIGGER refuse ON operations")
        self.stack.sagas_ended(ORPHANED)
        drive(self.client, self.memory, request)
        self.assertEqual("confirmed", request.outcome)
        self.ends_well(coordinator)

    def test_record_whose_answer_is_lost_is_written_again(self):
        coordinator = self.tapped()
        self.lose(lambda turn: is_call(turn, "saga_record"), times=8)
        for _ in range(4):
            drive(self.client, self.memory, self.order())
        self.assertEqual(8, len(self.met))
        self.ends_well(coordinator)

    def test_adoption_whose_answer_is_lost_is_found(self):
        """Its rows belong to (me, my epoch), and nobody runs them."""
        first = self.direct
        first.start()
        second = self.stack.coordinator("c2", {**harness.SHORT_LEASE, **self.tap.settings()}).start()
        self.visit(first)
        first.set_fault("shipping", mode="down", failure_rate=1.0, delay_ms=0)
        requests = [self.order(accept=True) for _ in range(5)]
        for request in requests:
            self.assertEqual(202, send(self.client, self.memory, request).status)
        wait_until("they are charged", lambda: len(self.log.query(
            "SELECT 1 FROM saga_instances WHERE current_step = 'shipping.arrange'")) == 5, 10)
        epoch = self.log.query("SELECT epoch FROM coordinator_epoch WHERE id = 'c1'")[0][0]

        def adopts_them(turn):
            return is_call(turn, "saga_adopt") and self.log.query(
                "SELECT epoch FROM coordinator_epoch WHERE id = 'c1'")[0][0] > epoch
        self.lose(adopts_them)
        first.kill()
        wait_until("the adoption's answer is lost", lambda: self.met, 15)
        self.stack.sagas_ended(ORPHANED)
        client = Client(second.port)
        self.addCleanup(client.close)
        for request in requests:
            drive(client, self.memory, request)
            self.assertEqual("confirmed", request.outcome)
        self.ends_well(second)

    def test_decision_and_completion_whose_answers_are_lost(self):
        coordinator = self.tapped()
        self.lose(lambda turn: "INSERT INTO decisions" in turn.text and turn.text.endswith("COMMIT"))
        request = self.order(mode="2pc", accept=True)
        self.assertEqual(202, send(self.client, self.memory, request).status)
        wait_until("the decision's answer is lost", lambda: self.met, 10)
        self.stack.sagas_ended(ORPHANED)
        self.lose(lambda turn: is_call(turn, "log_complete_decisions"), times=3)
        drive(self.client, self.memory, self.order(mode="2pc"))
        wait_until("completions' answers are lost", lambda: len(self.met) == 3, 10)
        self.ends_well(coordinator)

    def others_flow(self, seconds, allowed):
        """Orders come one by one for so long; the slowest took at most this long."""
        slowest = 0.0
        end = threading.Event()
        timer = threading.Timer(seconds, end.set)
        timer.start()
        sent = 0
        while not end.is_set():
            answer = send(self.client, self.memory, self.order())
            self.assertEqual(201, answer.status, answer.json)
            slowest, sent = max(slowest, answer.seconds), sent + 1
        self.assertGreater(sent, 5 * seconds)
        self.assertLess(slowest, allowed)

    def held_back(self, coordinator):
        """An accepted order that shipping does not answer: its saga."""
        coordinator.set_fault("shipping", mode="down", failure_rate=1.0, delay_ms=0)
        request = self.order(accept=True)
        answer = send(self.client, self.memory, request)
        self.assertEqual(202, answer.status)
        saga = answer.json["saga_id"]
        wait_until("it is charged", lambda: self.log.query(
            "SELECT 1 FROM saga_instances WHERE saga_id = %s AND current_step = 'shipping.arrange'", saga), 10)
        return request, saga

    def test_state_that_the_log_refuses_is_shown_as_stuck_and_stops_nobody(self):
        coordinator = self.tapped()
        request, saga = self.held_back(coordinator)
        self.log.query(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'not this one'; END $$")
        self.log.query(
            "CREATE TRIGGER refuse BEFORE UPDATE OF status ON saga_instances FOR EACH ROW WHEN"
            f" (OLD.saga_id = '{saga}') EXECUTE FUNCTION refuse()")
        coordinator.clear_faults()
        coordinator.wait_ready()
        self.others_flow(5, allowed=1.5)

        def shown():
            stuck = self.client.request("GET", "/v1/sagas?state=stuck").json["sagas"]
            return saga in [one["saga_id"] for one in stuck]
        wait_until("it is shown as stuck", shown, 30)
        self.assertEqual(1, coordinator.metric("txcoord_sagas_stuck"))
        self.log.query("DROP TRIGGER refuse ON saga_instances")
        self.stack.sagas_ended(20)
        self.assertEqual(0, coordinator.metric("txcoord_sagas_stuck"))
        drive(self.client, self.memory, request)
        self.ends_well(coordinator)

    def test_saga_whose_row_somebody_holds_waits_alone(self):
        coordinator = self.tapped()
        request, saga = self.held_back(coordinator)
        with psycopg.connect(self.log.dsn) as somebody:
            somebody.execute("SELECT 1 FROM saga_instances WHERE saga_id = %s FOR UPDATE", (saga,))
            coordinator.clear_faults()
            coordinator.wait_ready()
            self.others_flow(5, allowed=1.5)
        self.stack.sagas_ended()
        drive(self.client, self.memory, request)
        self.ends_well(coordinator)


if __name__ == "__main__":
    harness.main()
