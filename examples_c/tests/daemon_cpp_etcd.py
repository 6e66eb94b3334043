"""daemon_cpp_etcd.py ENDPOINT|@FILE PROGRAM

Another process turns the lamp, also across a delete; the presence key is there
as long as the daemon.
"""
import sys

import driver

endpoint, program = driver.endpoint(sys.argv[1]), sys.argv[2]
etcd = driver.Etcd(endpoint)
prefix = driver.prefix("lamp")

daemon = driver.Daemon("lamp", program, endpoint, prefix)
daemon.wait(r"^lamp: ready$", 20)
daemon.wait(r"^lamp: off$", 20)
driver.expect("presence", etcd.get(f"{prefix}/alive"), "1")

for color in "red", "green", "off", "blue":
    since = daemon.mark()
    if color == "off":
        etcd.delete(f"{prefix}/wanted")
    else:
        etcd.put(f"{prefix}/wanted", color)
    daemon.wait(f"^lamp: {color}$", 20, since)
    driver.expect("actual", etcd.get(f"{prefix}/actual"), color)

daemon.terminate()
daemon.wait(r"^signal 15: ended$", 5)
driver.expect("presence keys left", etcd.keys(f"{prefix}/alive"), [])
print("passed")
