"""An etcd for one round, and how busy the machine was besides."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

ETCD = os.environ.get("ETCD", "etcd")
TICKS = os.sysconf("SC_CLK_TCK")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def version():
    said = subprocess.run([ETCD, "--version"], capture_output=True, text=True, check=True)
    return said.stdout.splitlines()[0].rpartition(" ")[2]


class Server:
    """On free ports, its data in memory where there is such a place."""

    process = None

    def __enter__(self):
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = tempfile.mkdtemp(prefix="hmkv-bench-", dir=place)
        options = ["--unsafe-no-fsync"]
        try:
            for _ in range(5):
                if self.start(*options):
                    return self
                if "unsafe-no-fsync" in self.log():
                    options = []  # a version that does not know it
        except BaseException:
            self.stop()
            raise
        text = self.log()
        self.stop()
        raise SystemExit("etcd does not start:\n" + text[-2000:])

    def __exit__(self, *_):
        self.stop()

    def start(self, *options):
        """Tells whether it answers."""
        client, peer = free_ports(2)
        self.endpoint = f"http://127.0.0.1:{client}"
        peer = f"http://127.0.0.1:{peer}"
        command = [ETCD, "--name", "bench",
                   "--data-dir", f"{self.dir}/data",
                   "--listen-client-urls", self.endpoint,
                   "--advertise-client-urls", self.endpoint,
                   "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                   "--initial-cluster", f"bench={peer}",
                   "--log-level", "error", *options]
        with open(f"{self.dir}/log", "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", client)) == 0:
                    return True
            time.sleep(0.05)
        self.end()
        return False

    def log(self):
        with open(f"{self.dir}/log") as log:
            return log.read()

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    def cpu(self):
        """Seconds of processor time so far."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


class Others:
    """Which part of the machine was busy with neither etcd nor a client."""

    def __init__(self, server):
        self.server = server
        self.start, self.before = time.monotonic(), self.busy()

    def busy(self):
        with open("/proc/stat") as stat:
            fields = [int(field) for field in stat.readline().split()[1:9]]
        idle, waiting = fields[3:5]
        ours = os.times()
        return ((sum(fields) - idle - waiting) / TICKS - self.server.cpu()
                - ours.user - ours.system - ours.children_user - ours.children_system)

    def share(self):
        capacity = (time.monotonic() - self.start) * os.cpu_count()
        return max(0.0, (self.busy() - self.before) / capacity)
