"""Addresses of what the tests start. Nobody guesses one: a port that was free a moment ago may be another run's now.

A process that is started once takes port 0 and says what it got (`said_by`). Where the address must be known before
the process is there (a coordinator's settings name its services), or must stay the same while the process is killed
and started again (clients go on meanwhile), the test reserves it: a socket of its own is bound to it, and never
listens, until the test ends. On Linux, with SO_REUSEADDR at both, the process that the port is meant for can bind it
too and listen; the kernel gives it to nobody who asks for any free port, and to no outgoing connection as its own. So
nobody takes it between two lives of the process. Only who names this very number could, and that is who guesses.
"""
import atexit
import socket


def reserve_port(address="127.0.0.1"):
    """A port for one process to listen on, as often as it likes, for as long as this process lives."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((address, 0))
    atexit.register(held.close)
    return held.getsockname()[1]


def said_by(path, pid):
    """(port, admin port) from a process's http.ports_file; None until this process has written it."""
    try:
        with open(path, encoding="ascii") as file:
            said = dict(line.strip().split("=", 1) for line in file)
    except FileNotFoundError:
        return None
    return (int(said["port"]), int(said["admin_port"])) if int(said["pid"]) == pid else None
