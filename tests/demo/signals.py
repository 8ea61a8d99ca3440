# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Signals that end a run: by KeyboardInterrupt, so that everything is taken away, and once that has begun not at all."""
import signal

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def interrupt():
    def handler(number, _frame):
        raise KeyboardInterrupt(number)

    for number in ENDING:
        signal.signal(number, handler)


def ignore():
    """Whoever is impatient must not leave half of it behind."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def status(interrupted):
    """Of a program that a KeyboardInterrupt ended, as a shell would say it."""
    return 128 + (interrupted.args[0] if interrupted.args else signal.SIGINT)
