"""The medians as a picture: bars in relation to one client, which is the line at 1."""

from html import escape

from report import CPP, medians, ratio

# Readable on white and on black.
TEXT, GRID = "#7d838c", "#7d838c"
COLORS = ["#2f81f7", "#e08a1e", "#3fa45b", "#b65fd0", "#d1495b", "#3aa6a6"]
TITLES = {"go": "Go", "naive": "naive (etcd-client, tokio)", "floor": "floor (by hand)"}
PANELS = [("cpu_us", "Client CPU per operation"), ("p50_us", "Latency, median")]
LEFT, RIGHT, TOP, PLOT, GAP = 64, 16, 92, 210, 86
BAR = 24
CUT = 2.0  # longer bars end here; their number tells


def text(x, y, content, anchor="middle", size=12, more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'{more}>{escape(content)}</text>')


def title_of(label):
    op, _, threads = label.partition("@")
    if not threads:
        return [op]
    return [op, "1 thread" if threads == "1" else f"{threads} threads"]


def draw_bar(x, base, scale, value, color, name):
    width = BAR - 2
    height = min(value, CUT) * scale
    shape = (f'<rect x="{x:.1f}" y="{base - height:.1f}" width="{width:.1f}" '
             f'height="{height:.1f}" fill="{color}"><title>{escape(name)}: {value:.2f}</title>'
             "</rect>")
    return [shape, text(x + width / 2, base - height - 3, f"{value:.2f}", size=10)]


def width_of(labels, clients):
    return max(640, LEFT + RIGHT + len(labels) * max(80, BAR * len(clients) + 16))


def draw_panel(table, labels, clients, reference, panel, top):
    figure, title = panel
    right = width_of(labels, clients) - RIGHT
    bottom, scale = top + PLOT, PLOT / CUT
    parts = [text(LEFT, top - 14, title, "start", 14, 'font-weight="bold"'),
             text(0, 0, f"ratio to {TITLES[reference].split()[0]}", size=12,
                  more=f'transform="translate(18 {top + PLOT / 2:.0f}) rotate(-90)"')]
    for tick in (0, 0.5, 1, 1.5, 2):
        y = bottom - tick * scale
        line = 'stroke-width="1.6"' if tick == 1 else 'stroke-width="0.6" stroke-opacity="0.5"'
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" '
                     f'stroke="{GRID}" {line}/>')
        parts.append(text(LEFT - 6, y + 4, f"{tick:g}", "end"))
    group = (right - LEFT) / len(labels)
    for at, label in enumerate(labels):
        present = [c for c in clients if ratio(table[label], c, reference, figure) is not None]
        x = LEFT + group * (at + 0.5) - BAR * len(present) / 2
        for client in present:
            value = ratio(table[label], client, reference, figure)
            color = COLORS[clients.index(client) % len(COLORS)]
            parts += draw_bar(x + 1, bottom, scale, value, color, client)
            x += BAR
        for row, words in enumerate(title_of(label)):
            parts.append(text(LEFT + group * (at + 0.5), bottom + 16 + 14 * row, words))
    return parts


def draw_legend(clients, reference):
    x, y, parts = LEFT, 50, []
    for i, client in enumerate(clients):
        name = TITLES.get(client, client)
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" '
                     f'fill="{COLORS[i % len(COLORS)]}"/>')
        parts.append(text(x + 18, y, name, "start"))
        x += 44 + 7 * len(name)
    parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + 16}" y2="{y - 4}" '
                 f'stroke="{GRID}" stroke-width="1.6"/>')
    parts.append(text(x + 22, y, f"{TITLES[reference]} = 1", "start"))
    return parts


def write_picture(lines, path):
    table = {label: clients for label, clients in medians(lines).items()
             if not label.startswith("mem-")}
    reference = next((c for c in ("go", "naive") if any(c in t for t in table.values())), None)
    labels = [label for label, clients in table.items() if reference in clients]
    if not labels:
        print("\nno picture: neither Go nor naive was measured")
        return
    clients = list(dict.fromkeys(c for label in labels for c in table[label]
                                 if c not in (reference, CPP)))
    width = width_of(labels, clients)
    height = TOP + len(PANELS) * (PLOT + GAP) - 24
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             f'width="{width}" height="{height}" font-family="sans-serif" fill="{TEXT}" '
             'role="img">',
             "<title>Clients of etcd compared</title>",
             text(LEFT, 24, f"Clients of etcd, in relation to {TITLES[reference]}: "
                  "less is better", "start", 17, 'font-weight="bold"')]
    parts += draw_legend(clients, reference)
    for i, panel in enumerate(PANELS):
        parts += draw_panel(table, labels, clients, reference, panel, TOP + i * (PLOT + GAP))
    parts.append("</svg>")
    with open(path, "w") as out:
        out.write("\n".join(parts) + "\n")
