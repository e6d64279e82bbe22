"""Finds and stops one instance beside this one, for the demo's buttons.

An instance is a child of the same supervisor whose environment carries the name (``INSTANCE_ID``); nothing else on the
machine can be named this way, so nothing else can be stopped. Who may ask is decided in ``views``.
"""

import contextlib
import os
import signal
from threading import Timer

import psutil

STOP_SIGNALS = {"drain": signal.SIGTERM, "kill": signal.SIGKILL}
ANSWER_FIRST = 0.15  # seconds: the answer leaves before the process it may come from


def find_sibling(name: str) -> psutil.Process | None:
    """The process of the instance called ``name``, this one included; None where there is none."""
    if not name:
        return None
    for process in psutil.Process(os.getppid()).children():
        try:
            if process.environ().get("INSTANCE_ID") == name:
                return process
        except psutil.Error:
            continue
    return None


def stop_later(process: psutil.Process, number: signal.Signals) -> None:
    """Send the signal a moment from now. psutil checks that the pid was not reused in between."""
    timer = Timer(ANSWER_FIRST, _send, (process, number))
    timer.daemon = True
    timer.start()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
