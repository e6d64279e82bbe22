"""Drills: a cluster of one's own with Prometheus and Alertmanager, which is broken on purpose to time the alerts.

Nothing here touches a running installation: everything lives in a temporary directory, on free ports, and is gone when
the drill is over. It stands on real programs, so `redis-server`, `prometheus` and `alertmanager` must be installed, and
requirements-dev.txt for the load.
"""
