"""registry_outage_etcd.py PROGRAM

An instance and a client that start before etcd, outlive a time without it that is
longer than the lease, and, the client, a compaction of what it has not seen.
"""
import json
import signal
import sys

import driver

TTL = 5  # of an instance, as in registry.c

program = sys.argv[1]
server = driver.Server()
etcd = server.ctl

client = driver.Daemon("client", program, server.endpoint, "discover", "web")
a = driver.Daemon("a", program, server.endpoint, "register", "web", "a", "10.0.0.1:80")
client.wait(r"^discover: watch: ", 20)
a.wait(r"^a: lease: ", 20)
server.start()
client.wait(r"^-- these are all", 30)
client.wait(r"^\+ a 10\.0\.0\.1:80 ", 30)

for name in "xyz":
    etcd.put(f"services/web/{name}", "address=1")
client.wait(r"^\+ z 1$", 20)

# The lease counts as lost, but the server, when it returns, has the key still: the
# instance takes it over with another lease, and the client never sees it gone.
since, of_a = client.mark(), a.mark()
server.kill()
client.wait(r"^-- cut off, ", 20, since)
a.wait(r"^a: lease: .* lost", TTL + 20, of_a)
server.start()
client.wait(r"^-- connected again$", 30, since)
a.wait(r"^a: updated$", 30, of_a)
client.wait(r"^~ a 10\.0\.0\.1:80 ", 20, since)
driver.expect("gone", [line for line in client.lines if line.startswith("- ")], [])

# While the client is stopped its connection ends, and what happens then is
# compacted before it asks for it.
since = client.mark()
client.send(signal.SIGSTOP)
server.kill()
server.start()
etcd.put("services/web/x", "address=2")
etcd.put("services/web/x", "address=3")
etcd.delete("services/web/y")
etcd.put("services/web/new", "address=1")
revision = json.loads(etcd.ctl("get", "any", "-w", "json"))["header"]["revision"]
etcd.ctl("compact", str(revision))
client.send(signal.SIGCONT)
client.wait(r"^-- some steps were left out: ", 30, since)
told = sorted(line[2:] for line in client.lines[since:] if line[:2] in ("+ ", "~ ", "- "))
driver.expect("the difference", [line for line in told if line[0] != "a"], ["new 1", "x 3", "y"])

# The list anew, as it is now.
since = client.mark()
client.send(signal.SIGHUP)
client.wait(r"^-- these are all", 20, since)
driver.expect(
    "the list",
    [line.split()[1] for line in client.lines[since:] if line.startswith("+ ")],
    ["a", "new", "x", "z"],
)

client.terminate()
a.terminate()
driver.expect("keys", etcd.keys("services/web/a"), [])
server.kill()
print("passed")
