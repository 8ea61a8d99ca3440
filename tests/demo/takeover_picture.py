# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""takeover.svg: time to the right, which node serves, what each transfer received, and where servers died."""
from timeline import FAINT, GAP, INK, LEFT, PAPER, RIGHT, RULE, SOFT, WIDTH, Axis, area, bottom_axis, box, in_ms, text

NODES = {"a": ("#2b6cb0", "#e3eef8"), "b": ("#b7791f", "#faf0da"), "c": ("#5b7f3a", "#eaf2e0")}
OWNER_Y, OWNER_H, LANES_Y, LANE_H, AREA_H = 124, 22, 158, 46, 30
LABEL_ROWS, LABEL_H = 3, 13
SHOWN_GAP_MS = 30
BIN_S = 0.1


def rates(samples, axis):
    """From (time, bytes so far): bytes a second in each bin."""
    count = int((axis.t1 - axis.t0) / BIN_S) + 1
    bins = [0.0] * count
    for (t0, n0), (t1, n1) in zip(samples, samples[1:]):
        i = int((t1 - axis.t0) / BIN_S)
        if 0 <= i < count:
            bins[i] += (n1 - n0) / BIN_S
    return BIN_S, bins


def served(demo, axis):
    """(from, to, node or None)"""
    out, at, node = [], axis.t0, demo.first_owner
    for c in demo.engine.crashes:
        if c.kind == "standby":
            continue
        out.append((at, c.at, node))
        if c.taken is None:
            return out + [(c.at, axis.t1, None)]
        out.append((c.at, c.taken, None))
        at, node = c.taken, c.to
    return out + [(at, axis.t1, node)]


def causes(demo, axis, bottom):
    """What happened, above the line where it did; in the lowest row where it touches no neighbour."""
    lines, labels, ends = [], [], [0.0] * LABEL_ROWS
    for c in demo.engine.crashes:
        x, half = axis.x(c.at), 2.9 * len(c.kind) + 3
        row = next((i for i, end in enumerate(ends) if x - half > end), ends.index(min(ends)))
        ends[row] = x + half
        y = OWNER_Y - 10 - LABEL_H * row
        lines.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-dasharray="2 3"/>' % (
            x, y + 3, x, bottom, FAINT))
        labels.append(text(x, y, c.kind, 10, SOFT, "middle", halo=PAPER))
    return lines + labels


def draw(demo, record):
    axis = Axis(demo.t0, demo.t1)
    bottom = LANES_Y + LANE_H * len(demo.transfers) + 6
    height = bottom + 76
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="Inter, Segoe UI, Helvetica, '
           'Arial, sans-serif">' % (WIDTH, height),
           "<title>Servers die, connections do not</title>", box(0, 0, WIDTH, height, PAPER),
           text(24, 36, "Servers die, connections do not", 20, INK, "start", "bold"),
           text(24, 58, "curl through one address while its server is killed, hung, cut off (%d times) or drained (%d)"
                % (record["crashes"], record["planned"]), 13, SOFT),
           text(RIGHT, 36, "no byte lost, none wrong" if record["ok"] else "NOT everything survived", 14,
                "#2f7d4f" if record["ok"] else GAP, "end", "bold"),
           text(LEFT - 12, OWNER_Y + 15, "who serves", 12, SOFT, "end")]
    for t0, t1, node in served(demo, axis):
        x0, x1 = axis.x(t0), axis.x(t1)
        if node:
            strong, pale = NODES.get(node, NODES["c"])
            out += [box(x0, LANES_Y, x1, bottom - LANES_Y, pale), box(x0, OWNER_Y, x1, OWNER_H, strong)]
            if x1 - x0 > 14:
                out.append(text((x0 + x1) / 2, OWNER_Y + 15, node, 12, "#ffffff", "middle", "bold"))
        else:
            out.append(box(x0, OWNER_Y, max(x1, x0 + 1), OWNER_H, "#7a8490"))
    out += causes(demo, axis, bottom)
    top = 2.0 * demo.rate
    for i, t in enumerate(demo.transfers):
        base = LANES_Y + i * LANE_H + LANE_H - 6
        out += [text(LEFT - 12, base - 16, t.title, 12, INK, "end", "bold"),
                text(LEFT - 12, base - 2, "%.0f MB, gap %s" % (t.size / 1e6, in_ms(record["transfers"][i]["gap_ms"]["max"] or 0)), 10, SOFT, "end"),
                '<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s"/>' % (LEFT, base, RIGHT, base, RULE)]
        out.append('<g transform="translate(0,%.1f) scale(1,%.3f)">%s</g>' % (
            base, AREA_H / 44.0, area(rates(t.samples, axis), top, axis, 0)))
        over = axis.x(t.samples[-1][0]) if t.samples and not t.is_alive() else RIGHT
        if RIGHT - over > 40:
            out.append(text(over + 8, base - 6, "failed" if t.problem else "complete", 10, GAP if t.problem else SOFT))
        for at, length in t.pauses(demo.t0, demo.t1):
            if length * 1000 >= SHOWN_GAP_MS:
                x0 = axis.x(at)
                out.append(box(x0, base - AREA_H, max(axis.x(at + length), x0 + 1.5), AREA_H, GAP, ' fill-opacity="0.3"'))
    out += bottom_axis(axis, bottom)
    gap = record["gap_ms"]
    if gap["median"] is not None:
        out.append(text(24, height - 28, "Gap: the longest pause of a transfer in one crash (downloads at curl, uploads in the "
                        "stored file): median %s, 95 %% %s, longest %s." % (
                            in_ms(gap["median"]), in_ms(gap["p95"]), in_ms(gap["max"])), 11, SOFT))
    out.append(text(24, height - 12, "Red: pauses from %d ms on. Grey: nobody serves. Beside curl %d connections of other kinds, "
                    "each byte compared." % (SHOWN_GAP_MS, record["other_connections"]), 11, SOFT))
    out.append("</svg>\n")
    return "\n".join(out)
