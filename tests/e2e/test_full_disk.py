"""A database's disk is full, under load in both modes: orders are refused, nothing is half-done, and they come back
by themselves once there is room; after a server's panic, once it is started again. The disk is a small one in memory,
mounted where nobody else sees it; skipped (77) where that is not allowed."""
import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import unittest

import psycopg

import stack as harness
from load import Client, Load, Modes, Shop, new_key
from servers import wait_until
from verdict import verify

ROOM_MB = 48  # beside what is there already: two more segments of the write-ahead log
UNSHARE = ["unshare", "--mount", "--propagation", "private"]
SECONDS_TO_FLOW = 15  # the server recovers from its crash meanwhile
ALONE = "TXC_PRIVATE_MOUNTS"


class SmallDisk:
    """Holds a server's data directory from now on, until close()."""

    def __init__(self, database):
        self._database, self._data = database, database.data
        self._filler = os.path.join(self._data, "filler")
        owner = pwd.getpwuid(os.stat(self._data).st_uid)
        database.stop()
        with self._put_aside() as kept:
            os.mkdir(self._data)
            used = int(subprocess.check_output(["du", "-sm", kept]).split()[0])
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={used + ROOM_MB}m,mode=0700,uid={owner.pw_uid},"
                            f"gid={owner.pw_gid}", "tmpfs", self._data], check=True)
        database.start()

    @contextlib.contextmanager
    def _put_aside(self):
        """What the data directory holds, in another one, and then in a new data directory."""
        kept = f"{self._data}.kept"
        subprocess.run(["cp", "-a", self._data, kept], check=True)
        shutil.rmtree(self._data, ignore_errors=True)  # not the mount itself
        yield kept
        subprocess.run(["cp", "-a", f"{kept}/.", self._data], check=True)
        shutil.rmtree(kept)

    def fill(self):
        with open(self._filler, "wb", buffering=0) as filler:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):  # it is full
                    while filler.write(bytes(size)) == size:
                        pass

    def free_bytes(self):
        disk = os.statvfs(self._data)
        return disk.f_bavail * disk.f_frsize

    def make_room(self):
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._filler)

    def close(self):
        self.make_room()
        self._database.stop()
        with self._put_aside():
            subprocess.run(["umount", self._data], check=True)
        self._database.start()


class FullDisk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.addClassCleanup(cls.stack.close)
        cls.coordinator = cls.stack.coordinator().start()
        cls.shop = Shop(cls.coordinator.port)
        cls.seed = harness.seed_of_this_run()

    def setUp(self):
        self.client = Client(self.coordinator.port)
        self.addCleanup(self.client.close)

    def ordered(self):
        body = self.shop.order(sorted(self.shop.products)[:2])
        return self.client.request("POST", "/v1/orders", body, key=new_key())

    @contextlib.contextmanager
    def full(self, name):
        """Under load; yields the database once its disk is full. Then there is room, and all of it is judged."""
        database = self.stack.databases[name]
        disk = SmallDisk(database)
        self.addCleanup(disk.close)
        self.coordinator.wait_ready()
        load = Load(self.coordinator.port, self.shop, clients=6, seed=self.seed, modes=Modes.ALL)
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 50, 10)
        disk.fill()
        try:
            yield database
            self.assertLess(disk.free_bytes(), 1 << 20)
        finally:
            disk.make_room()
        if not database.alive():
            database.start()
        wait_until("orders flow again", lambda: self.ordered().status == 201, SECONDS_TO_FLOW)
        memory = load.stop(30)
        self.assertTrue(self.coordinator.alive(), self.coordinator.log_tail())
        verify(self.stack, self.coordinator, memory, sagas_end=30)

    def refuses(self, orders):
        refused = []

        def so_many():
            answer = self.ordered()
            if answer.status != 201:
                self.assertEqual(503, answer.status, answer.json)
                self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
                refused.append(answer)
            return len(refused) >= orders
        wait_until(f"{orders} orders are refused", so_many, 60)

    def tables_cannot_grow(self, name):
        with self.full(name) as database:
            self.refuses(20)
            self.assertTrue(database.alive())

    def server_panics(self, name):
        with self.full(name) as database:
            with contextlib.suppress(psycopg.OperationalError):
                for _ in range(200):
                    database.as_superuser("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1000000))")
            wait_until("it ends: its write-ahead log cannot grow", lambda: not database.alive(), 20)
            self.refuses(5)

    def test_payment_cannot_grow(self):
        self.tables_cannot_grow("payment")

    def test_inventory_cannot_grow(self):
        self.tables_cannot_grow("inventory")

    def test_the_log_cannot_grow(self):
        self.tables_cannot_grow("log")

    def test_payment_panics(self):
        self.server_panics("payment")

    def test_the_log_panics(self):
        self.server_panics("log")


if __name__ == "__main__":
    if ALONE not in os.environ:
        if subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False).returncode:
            print("skipped: a private mount needs root", file=sys.stderr)
            sys.exit(harness.SKIP)
        os.environ[ALONE] = "1"
        os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, "-u", *sys.argv])
    harness.main()
