"""config_watch_etcd.py ENDPOINT|@FILE PROGRAM

The daemon follows what another process writes, across a delete, and ends on
SIGTERM.
"""
import sys

import driver

endpoint, program = driver.endpoint(sys.argv[1]), sys.argv[2]
etcd = driver.Etcd(endpoint)
key = driver.prefix("config_watch")

daemon = driver.Daemon("config_watch", program, endpoint, key)
daemon.wait(r"^default: interval=10 level=info$", 20)

since = daemon.mark()
etcd.put(key, "interval=5 level=debug")
daemon.wait(r"^ok: interval=5 level=debug$", 20, since)

since = daemon.mark()
etcd.put(key, "interval=often")
daemon.wait(r"^refused, still: interval=5 level=debug$", 20, since)

since = daemon.mark()
etcd.delete(key)
daemon.wait(r"^default: interval=10 level=info$", 20, since)

# The watch ended with the delete; the daemon must have armed a new one.
since = daemon.mark()
etcd.put(key, "interval=1 level=warn")
daemon.wait(r"^ok: interval=1 level=warn$", 20, since)

daemon.terminate()
daemon.wait(r"^signal 15: shutting down$", 5)
driver.expect("status", etcd.get(key + ".status"), "ok: interval=1 level=warn")

# A daemon that starts later finds what is stored.
again = driver.Daemon("again", program, endpoint, key)
again.wait(r"^ok: interval=1 level=warn$", 20)
again.terminate()
print("passed")
