"""registry_etcd.py ENDPOINT|@FILE PROGRAM

Instances as processes, of which one dies, one loses its lease and one ends; two
clients must see all of it, from before and from in between.
"""
import signal
import sys
import time

import driver

TTL = 5  # of an instance, as in registry.c

endpoint, program = driver.endpoint(sys.argv[1]), sys.argv[2]
etcd = driver.Etcd(endpoint)
service = driver.prefix("registry")
keys = f"services/{service}/"


def register(name, instance, address):
    return driver.Daemon(name, program, endpoint, "register", service, instance, address)


def discover(name):
    return driver.Daemon(name, program, endpoint, "discover", service)


client = discover("client")
client.wait(r"^-- these are all", 20)
driver.expect("lines before there is an instance", len(client.lines), 1)

a = register("a", "i1", "10.0.0.1:80")
client.wait(r"^\+ i1 10\.0\.0\.1:80 pid=\d+ since=\S+Z reloads=0$", 20)
b = register("b", "i2", "10.0.0.2:80")
client.wait(r"^\+ i2 10\.0\.0\.2:80 ", 20)

# The snapshot has them both, in order, and only then says that this is all.
late = discover("late")
late.wait(r"^-- these are all", 20)
told = [line.split()[:2] for line in late.lines]
driver.expect("snapshot", told, [["+", "i1"], ["+", "i2"], ["--", "these"]])

since = client.mark()
a.send(signal.SIGHUP)
client.wait(r"^~ i1 10\.0\.0\.1:80 .* reloads=1$", 20, since)

# Somebody writes over it: the next update finds that out, and repairs it only
# because the lease is still the instance's; a key that was deleted comes back.
since = client.mark()
etcd.ctl("put", "--ignore-lease", f"{keys}i1", "address=nonsense")
client.wait(r"^~ i1 nonsense$", 20, since)
a.send(signal.SIGHUP)
client.wait(r"^~ i1 10\.0\.0\.1:80 .* reloads=2$", 20, since)
since = client.mark()
etcd.delete(f"{keys}i1")
client.wait(r"^- i1$", 20, since)
a.send(signal.SIGHUP)
client.wait(r"^\+ i1 10\.0\.0\.1:80 .* reloads=3$", 20, since)

# kill -9: it is there as long as its lease, and no longer.
since = client.mark()
b.kill()
killed = time.monotonic()
client.wait(r"^- i2$", TTL + 10, since)
print(f"-- i2 is gone {time.monotonic() - killed:.1f} s after it died")

# The lease of a living one: it goes, and comes back by itself.
since = client.mark()
etcd.revoke(f"{keys}i1")
client.wait(r"^- i1$", 20, since)
client.wait(r"^\+ i1 10\.0\.0\.1:80 ", 20, since)

# A namesake does not get the name as long as there is the first one.
namesake = register("namesake", "i1", "10.0.0.3:80")
namesake.wait(r"^i1: the name is taken, by lease ", 20)
driver.expect("keys", etcd.keys(keys), [f"{keys}i1"])

# SIGTERM: at once, which is to say that its key is gone when it is.
namesake.terminate()
since = client.mark()
a.terminate()
driver.expect("keys left", etcd.keys(keys), [])
client.wait(r"^- i1$", 20, since)
a.wait(r"^i1: ended$", 5)

# Both clients have seen the same, in the same order.
again = register("again", "i3", "10.0.0.4:80")
for daemon in (client, late):
    daemon.wait(r"^\+ i3 ", 20)
again.terminate()
for daemon in (client, late):
    daemon.wait(r"^- i3$", 20)
    daemon.terminate()


def told_from(daemon, what):
    lines = [line for line in daemon.lines if not line.startswith("--")]
    return lines[next(i for i, line in enumerate(lines) if what in line) :]


driver.expect("told", told_from(late, "reloads=1"), told_from(client, "reloads=1"))
driver.expect("addresses of namesakes told", [l for l in client.lines if "10.0.0.3" in l], [])
print("passed")
