"""leader_etcd.py ENDPOINT|@FILE PROGRAM

Two processes: the leader dies and the standby takes over when the lock's lease
ends; that one gets SIGTERM and a third takes over at once. No job is done twice,
none is left out.
"""
import re
import sys
import time

import driver

TTL = 3  # of the lock, as in leader.c

endpoint, program = driver.endpoint(sys.argv[1]), sys.argv[2]
etcd = driver.Etcd(endpoint)
prefix = driver.prefix("leader")


def start(name):
    return driver.Daemon(name, program, endpoint, name, prefix)


def await_queue(length):
    deadline = time.monotonic() + 20
    while len(etcd.keys(f"{prefix}/lock/")) != length:
        if time.monotonic() > deadline:
            driver.fail(f"never {length} in the queue")


a = start("a")
a.wait(r"^a: did job 3$", 20)
b = start("b")
b.wait(r"^b: stands by$", 20)
await_queue(2)
if any("leads" in line for line in b.lines):
    driver.fail("two leaders")

a.kill()
killed = time.monotonic()
b.wait(r"^b: leads$", TTL + 5)
print(f"-- b leads {time.monotonic() - killed:.1f} s after a died")
b.wait(r"^b: did job \d+$", 10)

c = start("c")
await_queue(2)
b.terminate()
b.wait(r"^b: ended$", 5)
c.wait(r"^c: leads$", 5)  # released, not expired
c.wait(r"^c: did job \d+$", 10)
c.terminate()

jobs = [
    int(match[1])
    for daemon in (a, b, c)
    for match in (re.search(r"did job (\d+)", line) for line in daemon.lines)
    if match
]
last = int(etcd.get(f"{prefix}/jobs"))
# The kill can fall between a job and the line about it.
silent = set(range(1, last + 1)) - set(jobs)
if jobs != sorted(set(jobs)) or len(silent) > 1 or jobs[-1] != last:
    driver.fail(f"jobs done: {jobs}, the store says {last}")
driver.expect("lock keys left", etcd.keys(f"{prefix}/lock/"), [])
print("passed")
