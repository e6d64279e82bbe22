"""Rate limits for HTTP routes and WebSocket commands, shared by all instances through Redis."""

from flotilla._names import refuse_other_name

refuse_other_name(__name__, "flotilla.ratelimit")
