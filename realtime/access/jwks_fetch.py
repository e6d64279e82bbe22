"""Fetches one JWKS document: HTTPS (or loopback), bounded in size and in all of its time, without blocking the loop.

A URL that is neither https nor of this machine is refused: whoever can change the answer on its way can sign for
anybody. How a request is made and bounded is in `outgoing_http`.
"""

from flotilla.realtime.outgoing_http import RequestFailed, ask
from flotilla.realtime.token_settings import fault_of_url

MAX_BYTES = 262_144  # of the document
WITHIN = 3.0  # seconds; a command has 4
ACCEPTED = {"Accept": "application/json, application/jwk-set+json"}


class FetchFailed(Exception):
    """There is no document; the message says why."""


async def fetch(url: str, *, within: float = WITHIN, most: int = MAX_BYTES) -> bytes:
    """The document at a URL: at most `most` bytes, within so many seconds. Raises FetchFailed."""
    if fault := fault_of_url(url):
        raise FetchFailed(fault)
    try:
        answer = await ask("GET", url, within=within, headers=ACCEPTED, most=most)
    except RequestFailed as error:
        raise FetchFailed(str(error)) from None
    if answer.status != 200:
        redirects = ": redirects are not followed, write the address it leads to"
        raise FetchFailed(f"the answer is {answer.status}{redirects if 300 <= answer.status < 400 else ''}")
    return answer.body
