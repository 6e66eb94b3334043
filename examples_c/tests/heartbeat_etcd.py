"""heartbeat_etcd.py ENDPOINT|@FILE PROGRAM

Three nodes and two instances as processes. One node and the auditing instance
die; the other instance must take over, report the node, and miss the instance.
"""
import sys

import driver

TTL = 5  # of the lock and of the presence keys, as in heartbeat.c

endpoint, program = driver.endpoint(sys.argv[1]), sys.argv[2]
etcd = driver.Etcd(endpoint)
prefix = driver.prefix("heartbeat")


def start(role, name):
    return driver.Daemon(name, program, endpoint, role, name, prefix)


nodes = {name: start("node", name) for name in ("n1", "n2", "n3")}
a = start("instance", "a")
a.wait(r"^a audits: instances a; nodes n1 n2 n3$", 20)
b = start("instance", "b")
b.wait(r"^b stands by", 20)
a.wait(r"^a audits: instances a b; nodes n1 n2 n3$", 20)

nodes["n3"].kill()
a.wait(r"^a audits: .*n3:LATE", 20)
a.kill()
b.wait(r"^b audits: ", TTL + 10)
b.wait(r"^b audits: instances b; nodes n1 n2 n3:LATE$", TTL + 10)

# A node that returns is no longer late.
since = b.mark()
nodes["n3"] = start("node", "n3")
b.wait(r"^b audits: instances b; nodes n1 n2 n3$", 20, since)

for daemon in (b, *nodes.values()):
    daemon.terminate()
    daemon.wait(r" ended$", 5)
driver.expect("presence keys left", etcd.keys(f"{prefix}/instance/"), [])
driver.expect("lock keys left", etcd.keys(f"{prefix}/lock/"), [])
driver.expect(
    "heartbeats", etcd.keys(f"{prefix}/hb/"), [f"{prefix}/hb/{name}" for name in ("n1", "n2", "n3")]
)
print("passed")
