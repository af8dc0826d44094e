"""What befalls txcoord while Prometheus watches: all is well; a drill; a silent database; a flaky service; a stuck
saga; a degraded mode; a dead coordinator with branches in doubt; a service that is gone; a branch that was lost.

Each part waits for what it is there to show, and notes when it began."""
import contextlib

from live import Prometheus, now
from load import Client, ConnectionLost, Load, Memory, Mix, Modes, Shop, place, send
from servers import wait_until
from stack import Service, Stack

LEASE_SECONDS = 12
SETTINGS = {"engine.trim": True, "engine.lease_ms": LEASE_SECONDS * 1000, "engine.recovery_interval_ms": 300,
            "saga.stuck_after": 3, "saga.retry_ms_max": 300, "saga.reservation_ttl_s": 3}
APART = "shipping"  # runs as a service; the other three inside the coordinators


class Scenario:
    def __init__(self, seed):
        self.stack = Stack(apart=False)
        self.service = self.stack.services[APART] = Service(self.stack, APART)
        self.first, self.second = (self.stack.coordinator(name, SETTINGS) for name in ("c1", "c2"))
        self.names = {f"127.0.0.1:{one.admin_port}": one.identity for one in (self.first, self.second, self.service)}
        self.began = {}  # part: when
        self.started = self.ended = None
        self._seed = seed
        self._shop = self._load = self.prometheus = None

    def run(self):
        self.first.start()
        self.second.start()
        self._shop = Shop(self.first.port, products=40)
        self.prometheus = Prometheus(self.stack.folder, [self.first.admin_port, self.second.admin_port],
                                     {APART: self.service.admin_port})
        self.prometheus.wait_ready()
        # It looks for its targets every few seconds, and until then no coordinator is known to be there.
        self._wait_value('sum(up{job=~"txcoord.*"})', 2)
        self.prometheus.wait_silent("TxcoordAllCoordinatorsDown")
        self.started = now()
        self._load = Load([self.first.port, self.second.port], self._shop, clients=6, seed=self._seed,
                          mix={**Mix.ORDINARY, "declined": 4}, modes=Modes.ALL)
        for part in (self.all_is_well, self.a_drill, self.a_silent_database, self.a_flaky_service,
                     self.a_stuck_saga, self.a_degraded_mode, self.a_dead_coordinator, self.a_dead_service,
                     self.a_lost_branch):
            self.began[part.__name__] = now()
            part()
        self.ended = now()

    def close(self):
        if self.prometheus:
            self.prometheus.stop()
        self.stack.close()

    # --- the parts ------------------------------------------------------------------------------
    def all_is_well(self):
        """Until the longest windows hold data from both modes, refusals included."""
        for mode in ("2pc", "saga"):
            for outcome in ("confirmed", "refused"):
                self._wait_value(f'sum(rate(txcoord_orders_total{{mode="{mode}",outcome="{outcome}"}}[8s]))', 0)
        self._wait_value("max(txcoord_decisions_retained)", 0)

    def a_drill(self):
        """The carrier refuses three orders in ten: a business refusal, and sagas to undo."""
        self.first.set_fault("shipping", mode="refuse", failure_rate=0.3)
        self.prometheus.wait_firing("TxcoordFaultSet")
        self._wait_value('sum(rate(txcoord_saga_compensations_total{step="payment.refund"}[8s]))', 0)
        self.first.clear_faults()
        self.prometheus.wait_silent("TxcoordFaultSet")

    def a_silent_database(self):
        """Connections stay open, nothing answers."""
        payment = self.stack.databases["payment"]
        payment.freeze()
        try:
            self.prometheus.wait_firing("TxcoordDatabaseAway", "TxcoordNotReady", "TxcoordOrdersFailing",
                                        "TxcoordParticipantFailing")
        finally:
            payment.thaw()
        self.prometheus.wait_silent("TxcoordDatabaseAway", "TxcoordNotReady", "TxcoordOrdersFailing",
                                    "TxcoordSagaStuck")

    def a_flaky_service(self):
        """Of five calls to the carrier's service four fail: sagas run out of tries, and are undone."""
        for coordinator in (self.first, self.second):
            coordinator.set_fault("shipping", mode="error", failure_rate=0.8)
        self.prometheus.wait_firing("TxcoordSagasFailing")
        for coordinator in (self.first, self.second):
            coordinator.clear_faults()
        self.prometheus.wait_silent("TxcoordSagasFailing", "TxcoordSagaStuck", "TxcoordInDoubtTooLong")

    def a_stuck_saga(self):
        """The carrier refuses, and payment is away on the way back; the reservation runs out meanwhile."""
        self.first.set_fault("shipping", mode="refuse", failure_rate=1.0, delay_ms=300)
        request = place(self._shop.order(sorted(self._shop.products)[:2]), mode="saga", accept=True)
        with contextlib.closing(Client(self.first.port)) as client:
            answer = send(client, Memory(), request)
        assert answer.status == 202, (answer.status, answer.json)
        payments = self.stack.databases["payment"]
        wait_until("it is charged", lambda: payments.query("SELECT 1 FROM payments WHERE order_id = %s",
                                                           answer.json["order_id"]), 5)
        self.first.set_fault("payment", mode="down")
        self.prometheus.wait_firing("TxcoordSagaStuck", "TxcoordReservationsExpiring")
        self.first.clear_faults()
        self.prometheus.wait_silent("TxcoordSagaStuck", "TxcoordInDoubtTooLong")

    def a_degraded_mode(self):
        """Payment is away: orders are confirmed all the same. The mode is off again, and payment still away: what
        they owe stays due."""
        for coordinator in (self.first, self.second):
            coordinator.set_fault("payment", mode="down")
        answer = self.first.admin("PUT", "/admin/v1/modes/payment", {"mode": "pay_later"})
        assert answer.status == 200, (answer.status, answer.json)
        # Not by the load: its clients soon all wait to cancel orders that are paid.
        with contextlib.closing(Client(self.first.port)) as client:
            for _ in range(20):
                answer = send(client, Memory(), place(self._shop.order(sorted(self._shop.products)[:2])))
                assert answer.status == 201, (answer.status, answer.json)
        self.prometheus.wait_firing("TxcoordDegradedMode")
        answer = self.first.admin("DELETE", "/admin/v1/modes/payment")
        assert answer.status in (200, 204), (answer.status, answer.json)
        self.prometheus.wait_firing("TxcoordOrdersDue")
        for coordinator in (self.first, self.second):
            coordinator.clear_faults()
        self.prometheus.wait_silent("TxcoordDegradedMode", "TxcoordOrdersDue", "TxcoordSagaStuck",
                                    "TxcoordInDoubtTooLong")

    def a_dead_coordinator(self):
        """Killed with branches prepared and nothing decided. The other one sees them, and may not touch them
        before the lease has run out."""
        self.first.kill()
        self.first.start(crash_at="prepare.after:3", ready=False)
        self._dead_at("prepare.after")
        self.prometheus.wait_firing("TxcoordCoordinatorDown", "TxcoordInDoubtTooLong")
        self.prometheus.wait_silent("TxcoordInDoubtTooLong")
        self.first.start()
        self.prometheus.wait_silent("TxcoordCoordinatorDown")

    def a_dead_service(self):
        self.service.kill()
        self.prometheus.wait_firing("TxcoordBreakerOpen", "TxcoordParticipantDown")
        self.service.start()
        self.prometheus.wait_silent("TxcoordBreakerOpen", "TxcoordParticipantDown")

    def a_lost_branch(self):
        """Decided, and then somebody rolls a branch back by hand. Nobody else sends: its orders hang."""
        self._load.stop()
        self.stack.sagas_ended()
        self.stack.settled()
        self.first.kill()
        self.first.start(crash_at="decide.after")
        with contextlib.closing(Client(self.first.port)) as client, contextlib.suppress(ConnectionLost):
            send(client, Memory(), place(self._shop.order(sorted(self._shop.products)[:2])))
        self._dead_at("decide.after")
        database = self.stack.databases["payment"]
        (gid,), = database.query("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
        database.query(f"ROLLBACK PREPARED '{gid}'")
        self.first.start(ready=False)
        self._wait_value('count_over_time(ALERTS{alertname="TxcoordHeuristicOutcome",alertstate="firing"}[30s])', 2)

    # --- helpers --------------------------------------------------------------------------------
    def _dead_at(self, point):
        wait_until(f"death at {point}", lambda: not self.first.alive(), 15)
        assert self.first.died_at_crash_point(), self.first.log_tail()

    def _wait_value(self, query, above, seconds=40):
        wait_until(f"{query} > {above}", lambda: (self.prometheus.value(query) or 0) > above, seconds, pause=0.2)
