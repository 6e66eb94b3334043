"""parse_metrics.py DOCUMENT: what hmkv_metrics() gave, on standard input, is what
Prometheus' own parser takes, with the names, types and labels of the document."""
import math
import re
import sys

from prometheus_client.parser import text_string_to_metric_families


def check(condition, why):
    if not condition:
        sys.exit(f"parse_metrics: {why}")


with open(sys.argv[1], encoding="utf-8") as document:
    documented = document.read()
types = dict(re.findall(r"^\| `(hmkv_\w+)` \| (\w+) \|", documented, re.M))
text = sys.stdin.read()
check(text.endswith("\n"), "the last line does not end")

families = {}
series = {}
for family in text_string_to_metric_families(text):
    # The parser takes the suffix of counters away.
    name = family.name + ("_total" if family.type == "counter" else "")
    check(name not in families, f"{name} comes twice")
    check(types.get(name) == family.type, f"{name} is a {family.type}")
    check(family.documentation, f"{name} has no help")
    families[name] = family
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        check(key not in series, f"{key} comes twice")
        check(math.isfinite(sample.value) and sample.value >= 0, f"{key} is {sample.value}")
        for label in ("kind", "status"):
            value = sample.labels.get(label)
            check(value is None or f"`{value}`" in documented, f"{label} {value}?")
        series[key] = sample.value
check(families.keys() == types.keys(), f"not as documented: {families.keys() ^ types.keys()}")

totals = {}
for sample in families["hmkv_requests_total"].samples:
    check(sample.labels.keys() == {"kind", "status"}, f"labels {sample.labels}")
    kind = sample.labels["kind"]
    totals[kind] = totals.get(kind, 0) + sample.value
check(totals, "there were no requests")

DURATION = "hmkv_request_duration_seconds"
buckets = {}
for sample in families[DURATION].samples:
    if sample.name == DURATION + "_bucket":
        bound = (float(sample.labels["le"]), sample.value)
        buckets.setdefault(sample.labels["kind"], []).append(bound)
check(buckets.keys() == totals.keys(), "kinds differ")
for kind, bounds in buckets.items():
    for values in zip(*bounds):
        check(list(values) == sorted(values), f"the buckets of {kind} do not ascend: {values}")
    count = series[(DURATION + "_count", (("kind", kind),))]
    check(bounds[-1] == (math.inf, count), f"the last bucket of {kind} is {bounds[-1]}")
    check(count == totals[kind], f"{count} of {totals[kind]} {kind}")
    check(series[(DURATION + "_sum", (("kind", kind),))] > 0, f"{kind} took no time")
