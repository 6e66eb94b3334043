"""What the tests of the examples on etcd share: daemons as processes of their
own, whose output is waited for with a deadline, etcdctl, and etcd."""
import atexit
import ctypes
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_running = []


def endpoint(argument):
    """The endpoint that is given, or that stands in @FILE."""
    if not argument.startswith("@"):
        return argument
    with open(argument[1:], encoding="utf-8") as file:
        return file.read().strip()


def prefix(name):
    """Keys of one run of one test, undisturbed by any other on the same server."""
    return f"example.{name}.{os.getpid()}.{time.time_ns()}"


def _die_with_the_test():
    """Nothing is left behind when the test itself is killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Daemon:
    """A process; its output is shown, and kept for wait()."""

    def __init__(self, name, *command):
        self.name = name
        self.lines = []
        self.ended = False
        self.news = threading.Condition()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=_die_with_the_test,
        )
        _running.append(self)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                print(f"[{self.name}] {self.lines[-1]}", flush=True)
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def mark(self):
        """How many lines there are, for wait(since=...)."""
        with self.news:
            return len(self.lines)

    def wait(self, pattern, seconds, since=0):
        """Wait for a line, fail after so many seconds."""
        pattern = re.compile(pattern)

        def found():
            return next(filter(pattern.search, self.lines[since:]), None)

        with self.news:
            self.news.wait_for(lambda: found() is not None or self.ended, seconds)
            if found() is None:
                why = "it ended" if self.ended else f"not within {seconds} s"
                fail(f"{self.name}: no line like {pattern.pattern!r}: {why}")
            return found()

    def send(self, number):
        """Send a signal, such as signal.SIGSTOP."""
        print(f"-- {signal.Signals(number).name} to {self.name}", flush=True)
        self.process.send_signal(number)

    def kill(self):
        """kill -9: no chance to clean up."""
        print(f"-- kill -9 {self.name}", flush=True)
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds=10):
        """SIGTERM; it must end cleanly within so many seconds."""
        print(f"-- SIGTERM to {self.name}", flush=True)
        self.process.terminate()
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            fail(f"{self.name}: still there {seconds} s after SIGTERM")
        if status != 0:
            fail(f"{self.name}: ended with status {status}")


class Etcd:
    def __init__(self, address):
        self.address = address

    def ctl(self, *arguments):
        program = os.environ.get("ETCDCTL") or "etcdctl"
        # A machine under load may need more than its defaults.
        patience = ("--command-timeout=20s", "--dial-timeout=20s")
        command = [program, f"--endpoints={self.address}", *patience, *arguments]
        environment = {**os.environ}
        environment.pop("ETCDCTL_ENDPOINTS", None)  # may not be given twice
        return subprocess.run(
            command, env=environment, check=True, timeout=30, stdout=subprocess.PIPE, text=True
        ).stdout

    def put(self, key, value):
        print(f"-- etcdctl put {key} {value}", flush=True)
        self.ctl("put", key, value)

    def delete(self, key):
        print(f"-- etcdctl del {key}", flush=True)
        self.ctl("del", key)

    def revoke(self, key):
        """Revoke the lease of a key."""
        print(f"-- etcdctl lease revoke: that of {key}", flush=True)
        answer = json.loads(self.ctl("get", key, "-w", "json"))
        self.ctl("lease", "revoke", f"{answer['kvs'][0]['lease']:x}")

    def get(self, key):
        return self.ctl("get", key, "--print-value-only").removesuffix("\n")

    def keys(self, start):
        return self.ctl("get", start, "--prefix", "--keys-only").split()


def _free_port():
    while True:
        port = random.randrange(20000, 32000)  # below those that the kernel gives to clients
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Server:
    """An etcd of the test's own, to be killed and started again, with its data."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(
            prefix="hmkv-example-", ignore_cleanup_errors=True
        )
        self.endpoint, self.peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
        self.process = None
        self.ctl = Etcd(self.endpoint)

    def start(self, seconds=60):
        print("-- etcd starts", flush=True)
        command = [os.environ.get("ETCD") or "etcd", "--name", "own", "--data-dir", self.directory.name]
        for flag, url in (
            ("--listen-client-urls", self.endpoint),
            ("--advertise-client-urls", self.endpoint),
            ("--listen-peer-urls", self.peer),
            ("--initial-advertise-peer-urls", self.peer),
            ("--initial-cluster", f"own={self.peer}"),
        ):
            command += [flag, url]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_the_test,
        )
        _running.append(self)
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.ctl.get("health")
            except subprocess.SubprocessError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    fail("etcd does not answer")

    def stop(self):
        """It hangs: connected, and silent. When this returns all its threads are stopped."""
        print("-- SIGSTOP to etcd", flush=True)
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def kill(self):
        print("-- kill -9 etcd", flush=True)
        self.process.kill()
        self.process.wait()


def expect(what, got, wanted):
    if got != wanted:
        fail(f"{what}: got {got!r}, wanted {wanted!r}")


def fail(why):
    sys.exit(f"FAILED: {why}")


@atexit.register
def _clean_up():
    for daemon in _running:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()
