# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Figures from the applications' records. A gap is the raw pause as the application saw it; nothing is subtracted."""
import bisect


def longest_pause(times, t0, t1):
    """The longest time between two consecutive arrivals that lies in the window or reaches into it, and its begin."""
    first = bisect.bisect_right(times, t0) - 1
    last = bisect.bisect_left(times, t1)
    inside = ([t0] if first < 0 else []) + list(times[max(first, 0):last + 1])
    if last >= len(times):  # nothing came any more: the pause lasts at least until the end of the window
        inside.append(t1)
    return max(((b - a, a) for a, b in zip(inside, inside[1:])), default=(t1 - t0, t0))


def ms(seconds):
    return round(seconds * 1000, 1)


# Each of these returns the record of one application in one step, and when its longest pause began.

def of_download(d, t0, t1, end):
    """What is missing at the end is counted in the step (`end` is when the next one began) in which the last byte came."""
    finished = d.received == d.size
    gap, at = longest_pause(d.times, t0, min(t1, d.times[-1]) if finished and d.times else t1)
    missing = d.size - d.received if d.times and t0 <= d.times[-1] < end else 0
    return {"name": d.name, "gap_ms": ms(gap), "bytes_lost": missing,
            "bytes_corrupted": sum(n for t, n in d.corrupted if t0 <= t < t1)}, at


def of_shell(s, t0, t1, now):
    answered = {n: took for _, n, took in s.answers}
    typed = [(n, t) for n, t in s.typed.items() if t0 <= t < t1]
    gap, at = max(((answered.get(n, now - t), t) for n, t in typed), default=(0, t0))
    return {"name": s.name, "gap_ms": ms(gap),
            "bytes_lost": sum(len("=%d" % s.result(n)) for n, _ in typed if n not in answered),
            "bytes_corrupted": sum(n for t, n in s.wrong if t0 <= t < t1),
            "lines_answered": sum(1 for n, _ in typed if n in answered)}, at


class Stream:
    """Both directions of the UDP stream, from what its ends wrote down."""
    name = "udp"

    def __init__(self, ends):
        self.ways = []
        for sender, receiver in (("client", "server"), ("server", "client")):
            came = ends.records(receiver, "came")
            self.ways.append({
                "sent": ends.records(sender, "sent"),
                "bad": [(t, size) for t, _, _, size, flag in came if flag == 2],
                "times": [t for t, _, _, _, flag in came if flag != 2],
                "fresh": [t for t, _, _, _, flag in came if flag == 1],
                "transmissions": {n for _, n, _, _, flag in came if flag != 2},
                "numbers": {n for _, _, n, _, flag in came if flag != 2},
            })

    def of(self, t0, t1):
        lost = corrupted = resent = lost_network = sent_all = 0
        gaps = [longest_pause(way["times"], t0, t1) for way in self.ways]
        for way in self.ways:
            corrupted += sum(n for t, n in way["bad"] if t0 <= t < t1)
            for t, transmission, number, attempt, size in way["sent"]:
                if not t0 <= t < t1:
                    continue
                sent_all += 1
                resent += attempt > 0
                lost_network += transmission not in way["transmissions"]
                if attempt == 0 and number not in way["numbers"]:
                    lost += int(size)
        return {"name": self.name, "gap_ms": ms(max(gaps)[0]), "bytes_lost": lost, "bytes_corrupted": corrupted,
                "gap_up_ms": ms(gaps[0][0]), "gap_down_ms": ms(gaps[1][0]),
                "datagrams_sent": sent_all, "datagrams_resent": resent,
                "datagrams_lost_in_network": lost_network}, [at for _, at in gaps]


def of_idle(exchange, size, waited):
    """`waited`: how long for an exchange that did not come; None when the step ended before it was asked for."""
    if exchange:
        return {"name": "idle", "gap_ms": ms(exchange["ended"] - exchange["began"]),
                "bytes_lost": exchange["lost"], "bytes_corrupted": exchange["corrupted"]}
    return {"name": "idle", "gap_ms": ms(waited or 0), "bytes_lost": 0 if waited is None else size,
            "bytes_corrupted": 0}
