"""Who a connection is and what it may do: tokens, sessions, origins, channel names, permissions and hooks.

Decisions are pure functions of identity, options and flags; the shells that read the session or call a project's hook
are thin. Refusals are raised as CommandError or DisconnectError with a code of the protocol.
"""
