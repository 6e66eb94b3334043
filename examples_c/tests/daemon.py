"""daemon.py ENDPOINT|@FILE PROGRAM [ARGUMENT...]

One daemon serves HTTP: configuration that it keeps in the store, metrics, who leads. On
etcd a second one follows it, takes over when it is killed, and loses the lead while it is
stopped. Clients that say nothing, nonsense or too much, and a lack of descriptors, take
nothing from the others for long. PROGRAM may be valgrind with the daemon as its argument;
then there is one daemon.
"""
import contextlib
import http.client
import os
import resource
import signal
import socket
import sys
import threading
import time

import driver

endpoint, command = driver.endpoint(sys.argv[1]), sys.argv[2:]
prefix = driver.prefix("daemon")
on_etcd = not endpoint.startswith("mem:")
PATIENCE = 60
CLOSE_TIMEOUT = 2  # of the library


class Daemon(driver.Daemon):
    def __init__(self, name, at=endpoint):
        super().__init__(name, *command, at, name, "0", prefix)
        line = self.wait(r"http://127.0.0.1:\d+$", PATIENCE)
        self.port = int(line.rsplit(":", 1)[1])
        self.wait(f"^{name}: ready$", PATIENCE)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def becomes(self, path, wanted):
        deadline = time.monotonic() + PATIENCE
        while self.ask("GET", path) != wanted:
            if time.monotonic() > deadline:
                driver.fail(f"{self.name}: {path} never became {wanted}")
            time.sleep(0.02)

    def works(self, more):
        """It leads, and does so much work from now on."""
        work = int(self.ask("GET", "/leader")[1].split()[1])
        deadline = time.monotonic() + PATIENCE
        while int(self.ask("GET", "/leader")[1].split()[1]) < work + more:
            if time.monotonic() > deadline:
                driver.fail(f"{self.name} does no work")
            time.sleep(0.02)

    def says(self, raw):
        """The status line that raw bytes are answered with, '' for none."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as raw_socket:
            raw_socket.sendall(raw)
            with contextlib.suppress(OSError):  # it may have hung up by now
                raw_socket.shutdown(socket.SHUT_WR)
            answer = raw_socket.makefile("rb").read()
        return answer.split(b"\r\n")[0].decode()

    def cpu(self):
        """Seconds of processor time until now."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def leave_descriptors(self, count):
        """Let it open so many more; returns the limit that it had."""
        used = {int(fd) for fd in os.listdir(f"/proc/{self.process.pid}/fd")}
        limit = sorted(set(range(len(used) + count)) - used)[count - 1] + 1
        _, most = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        return resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (limit, most))

    def silent(self, count):
        """So many clients that are connected and say nothing."""
        return [socket.create_connection(("127.0.0.1", self.port), PATIENCE) for _ in range(count)]


def refused(name, at_prefix):
    """Nothing of the names is cut: with these it does not start."""
    daemon = driver.Daemon("refused", *command, "mem:", name, "0", at_prefix)
    daemon.wait("NAME has at most 63 bytes, PREFIX at most 180$", PATIENCE)
    driver.expect("status of the refusal", daemon.process.wait(PATIENCE), 2)


refused("n" * 64, prefix)
refused("a", "p" * 181)

a = Daemon("a")
a.wait("^a: leads$", PATIENCE)

# --- requests
driver.expect("before", a.ask("GET", "/config/color"), (404, ""))
driver.expect("put", a.ask("PUT", "/config/color", "red"), (204, ""))
a.becomes("/config/color", (200, "red"))
a.wait("^a: configured: color$", PATIENCE)
driver.expect("elsewhere", a.ask("GET", "/elsewhere")[0], 404)
driver.expect("empty", a.says(b""), "")
driver.expect("half", a.says(b"GET /lea"), "")
driver.expect("nonsense", a.says(b"\r\n\r\n"), "HTTP/1.0 400 Bad Request")
driver.expect("no length", a.says(b"PUT /config/x HTTP/1.0\r\n\r\n"), "HTTP/1.0 411 Length Required")
driver.expect("long path", a.says(b"GET /config/" + b"x" * 300 + b" HTTP/1.0\r\n\r\n"), "HTTP/1.0 400 Bad Request")
driver.expect("too large", a.says(b"PUT /config/x HTTP/1.0\r\nContent-Length: 4090\r\n\r\n"), "HTTP/1.0 413 Content Too Large")
half_closed = b"PUT /config/x HTTP/1.0\r\nContent-Length: 3\r\n\r\na\0b"
driver.expect("half closed", a.says(half_closed), "HTTP/1.0 204 No Content")
driver.expect("endless", a.says(b"x" * 4095), "HTTP/1.0 413 Content Too Large")
driver.expect("NUL in the head", a.says(b"GET /leader HTTP/1.0\r\nX: \0\r\n\r\n"), "HTTP/1.0 400 Bad Request")
length_in_body = b"PUT /config/x HTTP/1.0\r\n\r\nContent-Length: 3\r\n"
driver.expect("length in the body", a.says(length_in_body), "HTTP/1.0 411 Length Required")
much = b"PUT /config/x HTTP/1.0\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000000
driver.expect("much too large", a.says(much), "HTTP/1.0 413 Content Too Large")

# --- work, at the pace that is configured
driver.expect("pace", a.ask("PUT", "/config/interval_ms", "20"), (204, ""))
a.works(10)

# --- many clients at once, one of which says nothing
silent = socket.create_connection(("127.0.0.1", a.port))
clients = [
    threading.Thread(target=a.ask, args=("PUT", f"/config/k{i}", f"v{i}")) for i in range(40)
]
for client in clients:
    client.start()
for client in clients:
    client.join()
for i in range(40):
    a.becomes(f"/config/k{i}", (200, f"v{i}"))
silent.close()

status, metrics = a.ask("GET", "/metrics")
driver.expect("metrics", (status, "hmkv_requests_total{" in metrics), (200, True))

# --- more silent clients than there are places, one of which stopped in the middle
silent = a.silent(70)
silent[0].sendall(b"GET /leader HTTP/1.0\r\n\0")
driver.expect("metrics beside silent clients", a.ask("GET", "/metrics")[0], 200)
driver.expect("told to a silent client", silent[0].recv(1), b"")
for client in silent:
    client.close()

# --- more silent clients than there are descriptors: it waits, and serves again
driver.expect("pace", a.ask("PUT", "/config/interval_ms", "500"), (204, ""))
limit = a.leave_descriptors(2)
silent = a.silent(3)
cpu, since = a.cpu(), time.monotonic()
driver.expect("without descriptors", a.ask("GET", "/leader")[0], 200)
cpu, since = a.cpu() - cpu, time.monotonic() - since
print(f"-- {cpu:.2f} s of processor time in {since:.2f} s")
driver.expect("it spins without descriptors", cpu > 0.2 * since, False)
for client in silent:
    client.close()
resource.prlimit(a.process.pid, resource.RLIMIT_NOFILE, limit)
driver.expect("with descriptors", a.ask("GET", "/leader")[0], 200)

if on_etcd:
    etcd = driver.Etcd(endpoint)
    driver.expect("presence", len(etcd.keys(f"{prefix}/alive/a")), 1)
if on_etcd and "valgrind" not in command[0]:
    b = Daemon("b")
    b.becomes("/config/k39", (200, "v39"))
    etcd.delete(f"{prefix}/config/color")
    for daemon in a, b:
        daemon.becomes("/config/color", (404, ""))
    since = a.mark()
    a.send(signal.SIGSTOP)
    b.wait("^b: leads$", PATIENCE)
    b.works(3)
    a.send(signal.SIGCONT)
    a.wait("^a: stops leading", PATIENCE, since)
    a.becomes("/config/k0", (200, "v0"))
    b.kill()
    a.wait("^a: leads$", PATIENCE, since)
    a.works(3)

    # --- one that waits for the lock ends at once
    c = Daemon("c")
    c.becomes("/leader", (200, "a 0\n"))
    c.terminate(CLOSE_TIMEOUT + 3)
    driver.expect("presence of a follower", etcd.keys(f"{prefix}/alive/c"), [])

    # --- the server hangs: writes fail in time, all else goes on, and the end is in time
    server = driver.Server()
    server.start()
    d = Daemon("d", server.endpoint)
    d.wait("^d: leads$", PATIENCE)
    driver.expect("put", d.ask("PUT", "/config/color", "red"), (204, ""))
    d.becomes("/config/color", (200, "red"))
    server.stop()
    answers = []
    write = ("PUT", "/config/color", "blue")
    writer = threading.Thread(target=lambda: answers.append(d.ask(*write)[0]))
    writer.start()
    while writer.is_alive():
        driver.expect("meanwhile", d.ask("GET", "/config/color"), (200, "red"))
        driver.expect("metrics meanwhile", d.ask("GET", "/metrics")[0], 200)
        writer.join(0.02)
    driver.expect("write without a server", answers[0] in (503, 504), True)
    d.process.terminate()
    with contextlib.suppress(driver.subprocess.TimeoutExpired):
        d.process.wait(CLOSE_TIMEOUT + 3)
    driver.expect("it ends without a server", d.process.poll() is not None, True)
    server.kill()

a.terminate(PATIENCE)
a.wait("^a: ends$", PATIENCE)
if on_etcd:
    driver.expect("presence after the end", etcd.keys(f"{prefix}/alive/a"), [])
print("passed")
