"""fenced_leader_etcd.py ENDPOINT|@FILE PROGRAM

Three processes. The leader is stopped for longer than its TTL, another one
leads, and the first goes on as if nothing had happened: its write must be
refused. No number is left out or written twice, and none by a former leader.
"""
import re
import signal
import sys
import time

import driver

TTL = 3  # of the lock, as in fenced_leader.c
WROTE = re.compile(r": wrote (\d+) with token (\d+)")

endpoint, program = driver.endpoint(sys.argv[1]), sys.argv[2]
etcd = driver.Etcd(endpoint)
prefix = driver.prefix("fenced_leader")


def start(name):
    return driver.Daemon(name, program, endpoint, name, prefix)


def await_queue(length):
    deadline = time.monotonic() + 20
    while len(etcd.keys(f"{prefix}/leader/")) != length:
        if time.monotonic() > deadline:
            driver.fail(f"never {length} in the queue")


def writes(daemon):
    return [(int(m[1]), int(m[2])) for m in map(WROTE.search, daemon.lines) if m]


a = start("a")
a.wait(r"^a: wrote 3 ", 20)
b = start("b")
await_queue(2)
c = start("c")
await_queue(3)
for follower in (b, c):
    follower.wait(rf"^{follower.name}: follows a$", 20)

# Stopped, a cannot be told of anything; b is the next in the queue.
a.send(signal.SIGSTOP)
b.wait(r"^b: leads with token \d+$", TTL + 10)
b.wait(r"^b: wrote \d+ ", 20)
c.wait(r"^c: follows b$", 20)

since = a.mark()
a.send(signal.SIGCONT)
a.wait(r"^a: (write \d+ is refused$|wrote \d+ .* as the receipt tells$)", 20, since)
a.wait(r"^a: leads no more$", 20, since)
a.wait(r"^a: campaigns$", 20, since)
a.wait(r"^a: follows b$", 20, since)
await_queue(3)

# An end in order hands over at once: first to c, then to a.
b.terminate()
c.wait(r"^c: wrote \d+ ", 20)
since = a.mark()
a.wait(r"^a: follows c$", 20)
c.terminate()
a.wait(r"^a: leads with token \d+$", 20, since)
a.wait(r"^a: wrote \d+ ", 20, since)
a.terminate()

done = sorted(write for daemon in (a, b, c) for write in writes(daemon))
numbers = [number for number, _ in done]
tokens = [token for _, token in done]
if numbers != list(range(1, len(done) + 1)):
    driver.fail(f"numbers written: {numbers}")
if tokens != sorted(tokens) or len(set(tokens)) != 4:
    driver.fail(f"a former leader wrote: {done}")
driver.expect("counter", etcd.get(f"{prefix}/counter"), str(len(done)))
driver.expect("lock keys left", etcd.keys(f"{prefix}/leader/"), [])
print("passed")
