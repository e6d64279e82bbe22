"""Every code of the client protocol, in one place.

Errors answer a command and leave the connection open; unsubscribe codes end one subscription; disconnect codes end the
connection. The numeric ranges decide whether a client comes back: unsubscribe codes >= 2500 and disconnect codes
3000-3499 and 4000-4499 make it try again, the others are final.
"""

from enum import IntEnum


class ErrorCode(IntEnum):
    """Codes of `{"error": {...}}` replies."""

    INTERNAL = 100
    UNAUTHORIZED = 101
    UNKNOWN_CHANNEL = 102
    PERMISSION_DENIED = 103
    METHOD_NOT_FOUND = 104
    ALREADY_SUBSCRIBED = 105
    LIMIT_EXCEEDED = 106
    BAD_REQUEST = 107
    NOT_AVAILABLE = 108
    TOKEN_EXPIRED = 109
    EXPIRED = 110
    TOO_MANY_REQUESTS = 111
    UNRECOVERABLE_POSITION = 112
    CONCURRENT_PAGINATION = 113

    @property
    def message(self) -> str:
        """The code in words, as clients print it."""
        return _MESSAGES.get(self, self.name.lower().replace("_", " "))

    @property
    def temporary(self) -> bool:
        """Whether the client should simply try again."""
        return self in _TEMPORARY


_MESSAGES = {
    ErrorCode.INTERNAL: "internal server error",
    ErrorCode.CONCURRENT_PAGINATION: "concurrent pagination or conflict",
}
_TEMPORARY = frozenset({ErrorCode.INTERNAL, ErrorCode.TOO_MANY_REQUESTS, ErrorCode.CONCURRENT_PAGINATION})


class UnsubscribeCode(IntEnum):
    """Codes of unsubscribe pushes."""

    SERVER = 2000
    INSUFFICIENT_STATE = 2500
    EXPIRED = 2501
    STATE_INVALIDATED = 2502
    ACCESS_ENDED = 2103  # ours, of the range that is free: no longer allowed
    ACCESS_UNKNOWN = 2603  # ours: could not be asked; the client tries again

    @property
    def reason(self) -> str:
        """The code in words; clients need it non-empty."""
        return _UNSUBSCRIBE_REASONS[self]


_UNSUBSCRIBE_REASONS = {
    UnsubscribeCode.SERVER: "server unsubscribe",
    UnsubscribeCode.INSUFFICIENT_STATE: "insufficient state",
    UnsubscribeCode.EXPIRED: "subscription expired",
    UnsubscribeCode.STATE_INVALIDATED: "state invalidated",
    UnsubscribeCode.ACCESS_ENDED: "permission denied",
    UnsubscribeCode.ACCESS_UNKNOWN: "permission could not be checked",
}


class DisconnectCode(IntEnum):
    """Close codes of the connection. The reason is never empty nor valid JSON: clients would misread it."""

    NORMAL = 1000
    MESSAGE_TOO_BIG = 1009
    CONNECTION_CLOSED = 3000
    SHUTDOWN = 3001
    INTERNAL = 3004
    EXPIRED = 3005
    SUBSCRIPTION_EXPIRED = 3006
    SLOW = 3008
    WRITE_ERROR = 3009
    INSUFFICIENT_STATE = 3010
    FORCE_RECONNECT = 3011
    NO_PONG = 3012
    TOO_MANY_REQUESTS = 3013
    STATE_INVALIDATED = 3014
    INVALID_TOKEN = 3500
    BAD_REQUEST = 3501
    STALE = 3502
    FORCE_DISCONNECT = 3503
    CONNECTION_LIMIT = 3504
    CHANNEL_LIMIT = 3505
    INAPPROPRIATE_PROTOCOL = 3506
    PERMISSION_DENIED = 3507
    NOT_AVAILABLE = 3508
    TOO_MANY_ERRORS = 3509

    @property
    def reason(self) -> str:
        """The code in words, as sent in the close frame."""
        return _DISCONNECT_REASONS.get(self, self.name.lower().replace("_", " "))


_DISCONNECT_REASONS = {
    DisconnectCode.NORMAL: "normal closure",
    DisconnectCode.INTERNAL: "internal server error",
    DisconnectCode.EXPIRED: "connection expired",
    DisconnectCode.CONNECTION_LIMIT: "connection limit",
}


class CommandError(Exception):
    """A command that is answered with an error reply. `code` is an ErrorCode or an application code 400-1999.

    `detail` goes to the log alone, never to the client.
    """

    def __init__(
        self, code: int, message: str | None = None, *, temporary: bool | None = None, detail: str = ""
    ) -> None:
        known = ErrorCode(code) if code in ErrorCode.__members__.values() else None
        self.code = int(code)
        self.message = message or (known.message if known else "application error")
        self.temporary = temporary if temporary is not None else bool(known and known.temporary)
        self.detail = detail
        super().__init__(f"{self.code}: {self.message}")


class DisconnectError(Exception):
    """A command or event that ends the connection. `detail` goes to the log alone, never to the client."""

    def __init__(self, code: int, reason: str | None = None, *, detail: str = "") -> None:
        known = DisconnectCode(code) if code in DisconnectCode.__members__.values() else None
        self.code = int(code)
        self.reason = reason or (known.reason if known else "disconnected")
        self.detail = detail
        super().__init__(f"{self.code}: {self.reason}" + (f" ({detail})" if detail else ""))
