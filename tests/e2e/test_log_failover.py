"""The log fails over to a synchronous standby: nothing is lost, orders go on, and nothing says that the log went back."""
import os
import signal
import subprocess
import unittest

import stack as harness
from load import Load, Mix, Shop
from servers import wait_until
from verdict import verify


class Standby:
    """A synchronous standby of one server: its own folder, its own socket."""

    def __init__(self, database, folder):
        self.database, self.bin = database, os.environ["TXC_TEST_PGBIN"]
        self.data, self.sockets = os.path.join(folder, "standby"), os.path.join(folder, "s")
        owner = os.stat(database.data)
        self.owner = (owner.st_uid, owner.st_gid)
        os.chmod(folder, 0o755)
        os.mkdir(self.sockets)
        os.chown(self.sockets, *self.owner)
        os.mkdir(self.data)
        os.chown(self.data, *self.owner)
        os.chmod(self.data, 0o700)
        words = dict(word.split("=", 1) for word in database.dsn.split())
        primary = f"host={words['host']} port={words['port']} user=postgres application_name=standby"
        self.run("pg_basebackup", "-D", self.data, "-d", primary, "-X", "stream", "--write-recovery-conf", "--checkpoint=fast")
        with open(os.path.join(self.data, "txcoord.conf"), "a", encoding="utf-8") as file:
            file.write(f"unix_socket_directories = '{self.sockets}'\nunix_socket_permissions = 0777\n")
        self.dsn = " ".join(f"{name}={value}" for name, value in {
            **words, "host": f"{words['host']},{self.sockets}", "target_session_attrs": "read-write"}.items())

    def command(self, program, *arguments):
        return [os.path.join(self.bin, program), *arguments]

    def run(self, program, *arguments):
        done = subprocess.run(self.command(program, *arguments), capture_output=True, text=True, timeout=60, check=False,
                              cwd="/", stdin=subprocess.DEVNULL, **self.identity())
        assert done.returncode == 0, (program, done.stdout, done.stderr)

    def identity(self):
        return {"user": self.owner[0], "group": self.owner[1], "extra_groups": []} if os.geteuid() == 0 else {}

    def start(self):
        with open(os.path.join(os.path.dirname(self.data), "standby.log"), "ab") as log:
            self.process = subprocess.Popen(self.command("postgres", "-D", self.data), cwd="/", stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, **self.identity())
        self.database.as_superuser("ALTER SYSTEM SET synchronous_standby_names = 'standby'", "postgres")
        self.database.as_superuser("SELECT pg_reload_conf()", "postgres")
        wait_until("it is synchronous", lambda: self.database.as_superuser(
            "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'", "postgres"), 20)

    def promote(self):
        """Waits for no standby of its own from then on."""
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a", encoding="utf-8") as file:
            file.write("synchronous_standby_names = ''\n")
        self.run("pg_ctl", "promote", "-D", self.data, "-w")

    def close(self):
        self.process.send_signal(signal.SIGQUIT)  # waits for no session
        self.process.wait(20)


class Failover(unittest.TestCase):
    def test_to_a_synchronous_standby_is_not_called_going_back(self):
        stack = harness.Stack()
        self.addCleanup(stack.close)
        log = stack.databases["log"]
        standby = Standby(log, stack.folder)
        standby.start()
        self.addCleanup(standby.close)
        coordinator = stack.coordinator("c1", {"log.dsn": standby.dsn}).start()
        load = Load(coordinator.port, Shop(coordinator.port), clients=4, seed=harness.seed_of_this_run(), mix=Mix.PLAIN)
        self.addCleanup(load.stop)
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 50, 15)
        wait_until("every database was told how far the log has come", lambda: all(
            stack.databases[name].query("SELECT 1 FROM txc_log_seen") for name in harness.PARTICIPANTS), 10)
        log.close()
        log.kill()
        standby.promote()
        log.dsn = " ".join(f"{name}={value}" for name, value in {
            **dict(word.split("=", 1) for word in log.dsn.split()), "host": standby.sockets}.items())
        confirmed = len(load.memory.of(outcome="confirmed"))
        wait_until("orders flow again", lambda: len(load.memory.of(outcome="confirmed")) > confirmed + 50, 30)
        wait_until("it is told", lambda: "the log failed over and has all that was seen of it" in self.log_of(coordinator), 10)
        verify(stack, coordinator, load.stop())
        self.assertNotIn("the log went back", self.log_of(coordinator))
        self.assertEqual([], log.query("SELECT gid FROM heuristic_outcomes"))
        self.assertEqual(0, coordinator.metric("txcoord_sagas_lost"))

    def log_of(self, coordinator):
        with open(coordinator.log_path, encoding="utf-8") as file:
            return file.read()


if __name__ == "__main__":
    harness.main()
