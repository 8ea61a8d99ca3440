# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""timeline.svg: one lane an application, time to the right, columns in the colour of the path that carries the association."""
import bisect
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 1200, 150, 1176
PATH_Y, PATH_H = 128, 22
LANES_Y, LANE_H, AREA_H = 168, 66, 44
BIN_S = 0.05
INK, SOFT, FAINT, PAPER, RULE = "#1d2733", "#5c6773", "#8b95a1", "#fdfdfb", "#d9dde2"
GAP = "#c8302b"
PATHS = {"w1": ("#2b6cb0", "#e3eef8"), "w2": ("#b7791f", "#faf0da")}
NONE = ("#7a8490", "#ececec")
SHOWN_GAP_MS = 30  # shorter ones are thinner than a line


def text(x, y, what, size=12, fill=INK, anchor="start", weight="normal", halo=None):
    """With a halo it stays legible where lines cross it."""
    more = ' stroke="%s" stroke-width="4" paint-order="stroke"' % halo if halo else ""
    return ('<text x="%.1f" y="%.1f" font-size="%d" fill="%s" text-anchor="%s" font-weight="%s"%s>%s</text>'
            % (x, y, size, fill, anchor, weight, more, escape(what)))


def box(x0, y0, x1, height, fill, more=""):
    return '<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"%s/>' % (
        x0, y0, max(x1 - x0, 0), height, fill, more)


def in_ms(value):
    return "%.1f ms" % value if value < 10 else "%.0f ms" % value


class Axis:
    def __init__(self, t0, t1):
        self.t0, self.t1 = t0, t1

    def x(self, t):
        t = min(max(t, self.t0), self.t1)
        return LEFT + (t - self.t0) / (self.t1 - self.t0) * (RIGHT - LEFT)


def rates(times, weights, axis, width):
    """What came in each bin, a second."""
    bins = [0.0] * (int((axis.t1 - axis.t0) / width) + 1)
    i = bisect.bisect_left(times, axis.t0)
    while i < len(times) and times[i] < axis.t1:
        bins[int((times[i] - axis.t0) / width)] += weights[i] if weights else 1
        i += 1
    return width, [b / width for b in bins]


def area(values, top, axis, y):
    """A stepped area that stands on y; what is above `top` is cut off."""
    width, bins = values
    points = ["M%.1f %.1f" % (LEFT, y)]
    for i, v in enumerate(bins):
        h = min(v / top, 1.0) * AREA_H
        for t in (i * width, (i + 1) * width):
            points.append("L%.1f %.1f" % (axis.x(axis.t0 + t), y - h))
    points.append("L%.1f %.1fZ" % (RIGHT, y))
    return '<path d="%s" fill="#3f5468" fill-opacity="0.78"/>' % "".join(points)


def spans(demo, axis):
    """(from, to, interface or None, label): which path carries, and where none did."""
    route = sorted(demo.route)
    out = []
    for i, (t, dev, local) in enumerate(route):
        end = route[i + 1][0] if i + 1 < len(route) else axis.t1
        # Between the loss of the path in use and the next one nothing can be carried.
        dead = next((m for m, _, kind in demo.marks if kind == "loss" and t <= m < end), end)
        out.append((t, dead, dev, "%s  %s" % (dev, local)))
        if dead < end:
            out.append((dead, end, None, "no path"))
    return [s for s in out if s[1] > axis.t0]


def columns(demo, axis, bottom):
    out = [text(LEFT - 12, PATH_Y + 15, "path in use", 12, SOFT, "end")]
    for t0, t1, dev, label in spans(demo, axis):
        x0, x1 = axis.x(t0), axis.x(t1)
        strong, pale = PATHS.get(dev, NONE) if dev else NONE
        out.append(box(x0, LANES_Y, x1, bottom - LANES_Y, pale))
        out.append(box(x0, PATH_Y, x1, PATH_H, strong if dev else "url(#none)"))
        if x1 - x0 > 8 * len(label):
            out.append(text((x0 + x1) / 2, PATH_Y + 15, label, 12, "#ffffff", "middle", "bold"))
        elif x1 - x0 > 24 and dev:
            out.append(text((x0 + x1) / 2, PATH_Y + 15, dev, 12, "#ffffff", "middle", "bold"))
    return out


def heads(demo, axis, bottom):
    """Names of the steps above, where each begins, and what happened in it on two lines, so that neighbours do not touch."""
    out = []
    for i, s in enumerate(demo.steps):
        x = axis.x(s["t0"])
        out.append('<line x1="%.1f" y1="64" x2="%.1f" y2="%d" stroke="%s" stroke-width="1"/>' % (
            x, x, bottom, FAINT))
        out.append(text(x + 6, 76, ("%d  " % i if i else "") + s["name"], 14, INK, "start", "bold"))
    end = {0: 0.0, 1: 0.0}
    for t, label, _ in sorted(demo.marks):
        x = axis.x(t)
        row = 0 if x + 6 > end[0] else 1
        y = 96 if row == 0 else 112
        end[row] = x + 12 + 6.0 * len(label)
        out.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-dasharray="3 3"/>' % (
            x, y - 10, x, bottom, SOFT))
        out.append(text(x + 6, y, label, 11, SOFT))
    return out


def captions(y, axis, demo, gaps):
    out = []
    for s, (gap, _) in zip(demo.steps, gaps):
        loud = gap >= 100
        out.append(text(axis.x(s["t0"]) + 6, y + 12, "gap " + in_ms(gap), 11, GAP if loud else SOFT, "start",
                        "bold" if loud else "normal", "#f4f4f1"))
    return out


def lane(name, unit, y, axis, values, top, gaps):
    base = y + LANE_H - 8
    out = [text(LEFT - 12, y + 32, name, 14, INK, "end", "bold"), text(LEFT - 12, y + 48, unit, 11, SOFT, "end"),
           '<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s"/>' % (LEFT, base, RIGHT, base, RULE)]
    out.append(area(values, top, axis, base))
    for gap, at in gaps:
        if gap >= SHOWN_GAP_MS:
            x0, x1 = axis.x(at), axis.x(at + gap / 1000)
            out.append(box(x0, base - AREA_H, max(x1, x0 + 1.5), AREA_H, GAP, ' fill-opacity="0.30"'))
    return out


def idle_lane(y, axis, demo):
    middle = y + 34
    out = [text(LEFT - 12, y + 32, "idle TCP", 14, INK, "end", "bold"),
           text(LEFT - 12, y + 48, "one exchange a step", 11, SOFT, "end"),
           '<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="2" stroke-dasharray="2 4"/>' % (
               LEFT, middle, RIGHT, middle, FAINT)]
    for s in demo.steps:
        e = s.get("idle")
        if not e:
            continue
        good = not (e["lost"] or e["corrupted"])
        x = axis.x(e["ended"]) - 6
        out.append('<circle cx="%.1f" cy="%d" r="5" fill="%s"/>' % (x, middle, "#2f7d4f" if good else GAP))
        took = in_ms((e["ended"] - e["began"]) * 1000)
        label = ("answered in " + took if x - axis.x(s["t0"]) > 125 else took) if good else "wrong"
        out.append(text(x - 9, middle - 9, label, 11, SOFT if good else GAP, "end"))
    return out


def bottom_axis(axis, y):
    out = []
    span = axis.t1 - axis.t0
    every = 1 if span < 16 else 2 if span < 40 else 5
    for s in range(0, int(span) + 1, every):
        x = axis.x(axis.t0 + s)
        out.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>' % (x, y, x, y + 5, FAINT))
        out.append(text(x, y + 19, "%d s" % s, 11, SOFT, "middle"))
    return out


def draw(demo, record):
    axis = Axis(demo.t0, max(s.get("t1") or s.get("broken", s["t0"] + 1) for s in demo.steps))
    up, down = demo.stream.ways

    def gaps(index):
        return [s["gaps"][index] for s in demo.steps]

    # As many bins as the thing counted makes even: the picture shows gaps, not the beat of bins and timers.
    lanes = [
        ("curl", "download, %.0f MB/s" % (demo.download.rate / 1e6),
         rates(demo.download.times, demo.download.counts, axis, 0.1), 2.0 * demo.download.rate, gaps(0)),
        ("ssh", "50 answers a second", rates([t for t, _, _ in demo.shell.answers], None, axis, 0.1), 100, gaps(1)),
        ("UDP up", "1000 datagrams/s", rates(up["times"], None, axis, BIN_S), 2000, gaps(2)),
        ("UDP down", "1000 datagrams/s", rates(down["times"], None, axis, BIN_S), 2000, gaps(3)),
    ]
    bottom = LANES_Y + LANE_H * (len(lanes) + 1)
    height = bottom + 64
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="Inter, Segoe UI, Helvetica, '
           'Arial, sans-serif">' % (WIDTH, height),
           "<title>Four applications through four changes of the network</title>",
           '<defs><pattern id="none" width="8" height="8" patternUnits="userSpaceOnUse" '
           'patternTransform="rotate(45)"><rect width="8" height="8" fill="#c3c9d0"/>'
           '<rect width="4" height="8" fill="#7a8490"/></pattern></defs>',
           box(0, 0, WIDTH, height, PAPER),
           text(24, 36, "Four applications through four changes of the network", 20, INK, "start", "bold")]
    verdict = "no byte lost, none wrong" if record["ok"] else "NOT everything survived"
    out.append(text(RIGHT, 36, verdict, 14, "#2f7d4f" if record["ok"] else GAP, "end", "bold"))
    out += columns(demo, axis, bottom)
    for i, (name, unit, values, top, gap) in enumerate(lanes):
        out += lane(name, unit, LANES_Y + i * LANE_H, axis, values, top, gap)
    out += idle_lane(LANES_Y + len(lanes) * LANE_H, axis, demo)
    out += heads(demo, axis, bottom)
    for i, row in enumerate(lanes):
        out += captions(LANES_Y + i * LANE_H, axis, demo, row[4])
    out += bottom_axis(axis, bottom)
    parked = ", ".join("%s %d" % (s["name"], s["packets_parked"]) for s in record["steps"])
    out.append(text(24, height - 14, "Gap: the longest pause in the step as the application saw it, red from %d ms on. "
                    "Hatched: no path. Packets parked: %s." % (SHOWN_GAP_MS, parked), 11, SOFT))
    out.append("</svg>\n")
    return "\n".join(out)
