"""The sessions of clients whose connection is a response: by them a request finds the client that it speaks for.

A session is a random number with a proof that the cluster made it for this node (an HMAC with SECRET_KEY), so that any
instance refuses invented ones without asking another. `name` is the node's in all of them: new for each process. Which
sessions have ended lately is remembered, so that a request which comes just too late is not taken for a stranger's.
"""

import hmac
import re
from collections import OrderedDict
from hashlib import sha256
from secrets import token_hex, token_urlsafe

from django.conf import settings

from flotilla.realtime.client.client import Client
from flotilla.realtime.server.budget import Allowance, Budget

RANDOM = 16  # bytes
PROOF = 16  # bytes
MAX_ENDED = 4096  # sessions that are remembered when they have ended
_NODE = re.compile(r"[0-9a-f]{32}")
_SESSION = re.compile(rf"([A-Za-z0-9_-]{{22}})\.([0-9a-f]{{{PROOF * 2}}})")


class Sessions:
    """Those of one process. `allowance`: what each may send in a second."""

    def __init__(self, allowance: Allowance) -> None:
        self.name = token_hex(16)
        self._allowance = allowance
        self._open: dict[str, tuple[Client, Budget]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, client: Client) -> str:
        """A session for a client; gives its name, which is the client's secret."""
        random = token_urlsafe(RANDOM)
        session = f"{random}.{proof_of(random, self.name, settings.SECRET_KEY)}"
        self._open[session] = client, Budget(self._allowance)
        return session

    def end(self, session: str) -> None:
        """Its client is gone. Calling it again does nothing."""
        if self._open.pop(session, None) is not None:
            self._ended[session] = None
            if len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)

    def deliver(self, session: str, data: str | bytes) -> bool:
        """Hand commands to a session's client; False where there is no such session, and has not been lately."""
        found = self._open.get(session)
        if found is None:
            return session in self._ended
        client, budget = found
        if not budget.spend(1, len(data)) or ((more := client.receive(data)) and not budget.spend(more, 0)):
            client.overrun()
        return True


def is_genuine(session: str, node: str) -> bool:
    """Whether the cluster has made this session for this node, which may be gone."""
    parts = _SESSION.fullmatch(session)
    if parts is None or _NODE.fullmatch(node) is None:
        return False
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(hmac.compare_digest(parts[2], proof_of(parts[1], node, key)) for key in keys)


def proof_of(random: str, node: str, key: str | bytes) -> str:
    secret = key.encode() if isinstance(key, str) else key
    said = f"flotilla.session:{node}:{random}".encode()
    return hmac.new(secret, said, sha256).hexdigest()[: PROOF * 2]
