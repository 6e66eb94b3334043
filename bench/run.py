#!/usr/bin/env python3
"""Compare libhmkv with other clients, on an etcd of its own. See README.md."""

import argparse
import json
import os
import signal
import subprocess
import sys

from picture import write_picture
from report import print_failures, print_table, print_targets
from server import Others, Server, version

# Workload, threads, operations, and the clients that have it ("+": added builds).
ETCD = [(op, threads, n, ["libhmkv", "+", "go", "naive", "floor"])
        for op in ("get", "put", "tas")
        for threads, n in ((1, 3000), (8, 9000), (64, 13000))] + [
    ("flight", 64, 20000, ["libhmkv", "+", "go"]),
    ("open", 1, 150, ["libhmkv", "+", "go", "naive", "floor"]),
    ("range", 1, 25, ["libhmkv", "+", "go", "naive"]),
    ("watch", 1, 1000, ["libhmkv", "+", "go", "naive"]),
]
MEMORY = [(op, threads, 500000, ["libhmkv", "+", "map"])
          for op in ("get", "put", "tas") for threads in (1, 2)]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default=None, metavar="DIR",
                        help="where the programs are (default: target/bench)")
    parser.add_argument("--lib", metavar="DIR",
                        help="measure the libhmkv of DIR instead of that just built")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=DIR",
                        help="another build of libhmkv, in DIR; can be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0,
                        help="multiplies the number of operations")
    parser.add_argument("--only", metavar="LIST",
                        help="workloads, as in get,mem-put or get@64")
    parser.add_argument("--clients", metavar="LIST", help="clients, as in libhmkv,go")
    parser.add_argument("--out", metavar="FILE", help="default: bench.jsonl beside the programs")
    parser.add_argument("--svg", metavar="FILE", help="default: bench.svg beside the programs")
    options = parser.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    options.bin = os.path.abspath(options.bin or f"{here}/../target/bench")
    options.out = options.out or f"{options.bin}/bench.jsonl"
    options.svg = options.svg or f"{options.bin}/bench.svg"
    for added in options.also:
        name, _, directory = added.partition("=")
        if not name or not os.path.isdir(directory):
            parser.error(f"--also {added}: NAME=DIR is needed")
    return options


def commands(options):
    """Client -> (program, library directory or None); only what was built."""
    found = {"libhmkv": ("hmkv", options.lib)}
    for added in options.also:
        name, _, directory = added.partition("=")
        found[name] = ("hmkv", directory)
    for name in ("go", "naive", "floor", "map"):
        found[name] = (name, None)
    chosen = options.clients.split(",") if options.clients else list(found)
    for name in set(chosen) - set(found):
        sys.exit(f"--clients: no client {name}")
    built = {}
    for name, (program, directory) in found.items():
        path = f"{options.bin}/{program}"
        if name in chosen and os.access(path, os.X_OK):
            built[name] = (path, directory and os.path.abspath(directory))
        elif name in chosen:
            print(f"bench: {name} is left out, it is not built")
    return built


def plan(options, clients):
    """Label, workload, endpoint is memory, threads, n, clients."""
    added = [a.partition("=")[0] for a in options.also]
    only = options.only.split(",") if options.only else None
    chosen = []
    for memory, entries in ((False, ETCD), (True, MEMORY)):
        for op, threads, n, names in entries:
            name = f"mem-{op}" if memory else op
            label = f"{name}@{threads}" if op in ("get", "put", "tas") else name
            if only and name not in only and label not in only:
                continue
            at = names.index("+")
            names = [c for c in names[:at] + added + names[at + 1:] if c in clients]
            n = max(threads, 5, int(n * options.scale))
            if names:
                chosen.append((label, op, memory, threads, n, names))
    if not chosen:
        sys.exit("bench: nothing to do")
    return chosen


# What a client does for a workload that is not its own: 64 goroutines are what Go has
# for many requests in flight.
INSTEAD = {("go", "flight"): "get"}


def run_program(path, directory, op, endpoint, threads, n):
    """The program's line; one with "failure" when it failed."""
    environment = dict(os.environ)
    if directory:
        environment["LD_LIBRARY_PATH"] = directory
    try:
        done = subprocess.run([path, op, endpoint, str(threads), str(n)], env=environment,
                              capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return {"failure": "no end within 300 s"}
    try:
        line = json.loads(done.stdout)
    except ValueError:
        line = {}
    if done.returncode != 0 or line.get("errors") != 0:
        said = done.stderr.strip().splitlines()
        line["failure"] = said[0] if said else f"exit status {done.returncode}"
    return line


def measure(clients, server, entry, name, round_number):
    label, op, memory, threads, n, _ = entry
    path, directory = clients[name]
    server_before, others = server.cpu(), Others(server)
    op = INSTEAD.get((name, op), op)
    line = run_program(path, directory, op, "mem:" if memory else server.endpoint, threads, n)
    if server.process.poll() is not None:
        sys.exit(f"bench: etcd ended during {label} of {name}")
    if not memory and line.get("calls"):
        line["server_cpu_us"] = (server.cpu() - server_before) * 1e6 / line["calls"]
    line.update(label=label, client=name, round=round_number, others=others.share())
    return line


def tell(line):
    text = line.get("failure")
    if text:
        text = f"FAILED: {text}"
    else:
        p50 = f"{line['p50_us']:10.1f} us" if "p50_us" in line else ""
        text = f"{line['ops_s']:12.0f} ops/s {line['cpu_us']:10.2f} us CPU {p50}"
    print(f"  {line['round'] + 1} {line['label']:10} {line['client']:10} {text}", flush=True)


def main():
    options = parse_arguments()
    clients = commands(options)
    entries = plan(options, clients)
    lines = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends etcd as well
    print(f"bench: etcd {version()}, {os.cpu_count()} cores, {options.rounds} rounds", flush=True)
    with open(options.out, "w") as out:
        for round_number in range(options.rounds):
            with Server() as server:
                loaded = run_program(f"{options.bin}/floor", None, "preload", server.endpoint,
                                     8, 10000)
                if "failure" in loaded:
                    sys.exit(f"bench: cannot store the keys: {loaded['failure']}")
                for entry in entries:
                    names = entry[-1]
                    first = round_number % len(names)
                    for name in names[first:] + names[:first]:
                        line = measure(clients, server, entry, name, round_number)
                        lines.append(line)
                        out.write(json.dumps(line) + "\n")
                        tell(line)
    print_table(lines)
    print_targets(lines)
    write_picture(lines, options.svg)
    print(f"\nall runs: {options.out}\npicture:  {options.svg}")
    return print_failures(lines)


if __name__ == "__main__":
    sys.exit(main())
