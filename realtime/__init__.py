"""The real-time core: clients' connections, channels and their history, the server, its APIs and its admin."""

from flotilla._names import refuse_other_name

refuse_other_name(__name__, "flotilla.realtime")
