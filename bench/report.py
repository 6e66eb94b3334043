"""Medians, ratios and targets, as text."""

from statistics import median

# What etcd-cpp-apiv3 needs for a get, in relation to Go's client: ratios of
# measurements elsewhere, with both side by side. Here only Go's is measured.
CPP_TO_GO = {
    1: {"p50_us": 469 / 565, "cpu_us": 218 / 375},
    8: {"p50_us": 1285 / 1069, "cpu_us": 137 / 117},
    64: {"ops_s": 9300 / 11200, "cpu_us": 100 / 71},
}
CPP = "C++*"

# Above this part of the machine, other programs decide what is measured.
QUIET = 0.1

# Of libhmkv's figure to that of the client; more is better for ops_s alone.
TARGETS = [
    *((f"{op}@1", CPP, {"p50_us": 0.88, "cpu_us": 0.75}) for op in ("get", "put", "tas")),
    ("get@8", "go", {"ops_s": 1.15, "cpu_us": 0.8}),
    ("put@8", "go", {"ops_s": None, "cpu_us": None}),
    ("tas@8", "go", {"ops_s": None, "cpu_us": None}),
    *((f"{op}@64", "go", {"ops_s": 1.1, "cpu_us": 1.0}) for op in ("get", "put", "tas")),
    ("flight", "go", {"ops_s": 1.5, "cpu_us": 0.4}),
    ("open", "go", {"p50_us": 0.6}),
    ("range", "go", {"p50_us": 0.9, "cpu_us": 0.5}),
    ("watch", "go", {"p50_us": 0.9}),
]
NAMES = {"ops_s": "ops/s", "p50_us": "p50", "cpu_us": "CPU"}
FIGURES = ["ops_s", "p50_us", "p99_us", "cpu_us", "switches", "server_cpu_us", "others"]


def medians(lines):
    """Label -> client -> figure -> median, in the order of the runs."""
    runs = {}
    for line in sorted(lines, key=lambda line: line["round"]):
        if "failure" not in line:
            runs.setdefault(line["label"], {}).setdefault(line["client"], []).append(line)
    table = {label: {client: {figure: median(run[figure] for run in found)
                              for figure in FIGURES if figure in found[0]}
                     for client, found in clients.items()}
             for label, clients in runs.items()}
    for label, clients in table.items():
        op, _, threads = label.partition("@")
        if "go" in clients and op in ("get", "put", "tas"):
            clients[CPP] = {figure: clients["go"][figure] * factor
                            for figure, factor in CPP_TO_GO[int(threads)].items()}
    return table


def spread(lines, label, client):
    """How far the rounds lie apart, as a part of the median."""
    speeds = [line["ops_s"] for line in lines
              if (line["label"], line["client"]) == (label, client) and "failure" not in line]
    return f"{(max(speeds) - min(speeds)) / median(speeds):.0%}" if len(speeds) > 1 else "-"


def ratio(clients, client, base, figure):
    try:
        return clients[client][figure] / clients[base][figure]
    except (KeyError, ZeroDivisionError):
        return None


def number(value, digits=0):
    return "-" if value is None else f"{value:.{digits}f}"


def print_rows(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows])
              for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        first, rest = row[:2], row[2:]
        cells = [cell.ljust(width) for cell, width in zip(first, widths)]
        cells += [cell.rjust(width) for cell, width in zip(rest, widths[2:])]
        print("  ".join(cells).rstrip())


def figures_of(figures, share, digits):
    return [number(figures.get("ops_s")), number(figures.get("p50_us")),
            number(figures.get("p99_us")), number(figures.get("cpu_us"), digits),
            number(figures.get("switches"), 2), number(figures.get("server_cpu_us")), share,
            f"{figures['others']:.0%}" if "others" in figures else "-"]


def ratios_of(clients, client, bases):
    return ["-" if client == base else number(ratio(clients, client, base, figure), 2)
            for base in bases for figure in ("ops_s", "p50_us", "cpu_us")]


def print_table(lines):
    bases = {"go": "Go", "naive": "naive", CPP: CPP, "map": "map"}
    table = medians(lines)
    measured = {client for clients in table.values() for client in clients}
    bases = {client: name for client, name in bases.items() if client in measured}
    head = ["workload", "client", "ops/s", "p50 us", "p99 us", "CPU us", "switches", "server us",
            "spread", "others"] + [f"{kind}:{name}" for name in bases.values()
                         for kind in ("ops", "p50", "CPU")]
    rows = []
    for label, clients in table.items():
        digits = 3 if label.startswith("mem-") else 1
        for client, figures in clients.items():
            rows.append([label, client,
                         *figures_of(figures, spread(lines, label, client), digits),
                         *ratios_of(clients, client, bases)])
    # A ratio that nobody has is no column.
    empty = [i for i in range(2, len(head)) if all(row[i] == "-" for row in rows)]
    head, *rows = [[cell for i, cell in enumerate(row) if i not in empty]
                   for row in [head, *rows]]
    print("\nMedians of the rounds. CPU us: the client's processor time for an operation; "
          "server us: etcd's;\nswitches: voluntary context switches for an operation; spread: "
          "between the rounds, of ops/s;\nothers: how much of the machine other programs used. "
          "ops:X, p50:X, CPU:X: in relation to client X.\n")
    print_rows(head, rows)
    if CPP in measured:
        print("\n* derived, not measured here: etcd-cpp-apiv3's figure, from Go's by fixed ratios "
              "of get measured\n  elsewhere: 1 thread p50 469/565, CPU 218/375; 8 threads p50 "
              "1285/1069, CPU 137/117; 64 threads\n  ops/s 9300/11200, CPU 100/71.")


def print_targets(lines):
    table = medians(lines)
    rows = []
    for label, base, wanted in TARGETS:
        for figure, target in wanted.items():
            found = ratio(table.get(label, {}), "libhmkv", base, figure)
            if found is None:
                continue
            at_least = figure == "ops_s"
            reached = "-"
            if target is not None:
                reached = "yes" if (found >= target if at_least else found <= target) else "NO"
            rows.append([label, f"{NAMES[figure]} to {base}",
                         "-" if target is None else f"{'>=' if at_least else '<='} {target:.2f}",
                         number(found, 2), reached])
    if not rows:
        return
    print("\nTargets of libhmkv. With 1 thread they are set against the C++ client (derived, *), "
          "all others\nagainst Go.\n")
    print_rows(["workload", "ratio", "target", "here", "reached"], rows)
    others = median(line["others"] for line in lines)
    if others > QUIET:
        print(f"\nNot to be relied on: other programs used {others:.0%} of the machine.")


def print_failures(lines):
    """Tells of the failed runs; the exit status."""
    failures = [line for line in lines if "failure" in line]
    if failures:
        print(f"\nFAILED: {len(failures)} runs, which the medians leave out:")
    for line in failures:
        print(f"  {line['label']} {line['client']} round {line['round'] + 1}: "
              f"{line.get('errors', '?')} errors, {line['failure']}")
    return 1 if failures else 0
