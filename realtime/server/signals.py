"""Django signals of a process that serves: `on_boot` before its application is started, `on_drain` before its listener
is closed.

Each is sent once, without arguments; receivers may be coroutines. A receiver of `on_boot` that fails ends the process;
receivers of `on_drain` have a second, and a failure is logged. Our server alone sends them: management commands and
other ASGI servers do not.
"""

from django.dispatch import Signal

on_boot = Signal()
on_drain = Signal()
