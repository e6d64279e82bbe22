"""When the certificates end that people meet: looked at every minute, told as metrics.

A certificate is a file, every `.pem` of a folder, or what an address (`host:port`) shows over TLS: the last sees also
that a renewed one was never loaded. It is not judged here: one that nobody trusts, or that has ended, has a date too.
One that cannot be read is told as such, for silence would look like health.
"""

import asyncio
import logging
import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage, Warning, register

from flotilla._extras import MissingExtra
from flotilla.config_reader import ConfigProblems
from flotilla.realtime.server.conf import get_server_config
from flotilla.store.once import Once
from flotilla.store.supervised import SupervisedTask

logger = logging.getLogger("flotilla.monitoring.certificates")

EVERY = 60.0  # seconds
SHOWN_WITHIN = 5.0  # seconds an address has
MAX = 50  # certificates: each is a label's value
AT_ONCE = 8  # looks


class Unreadable(Exception):
    """A certificate cannot be read; the message says why."""


class CertificateWatch(SupervisedTask):
    """Looks from `start` to `stop`. `ends`: by certificate its last second (Unix time), None where it is unreadable."""

    def __init__(self) -> None:
        super().__init__("certificates", self._watch)
        self.ends: dict[str, float | None] = {}
        self._news = Once(quiet=3600.0)

    async def look(self) -> None:
        """Look at each certificate of the settings once."""
        names = [name for item in get_server_config().metrics_certificates for name in _expanded(item)][:MAX]
        free = asyncio.Semaphore(AT_ONCE)

        async def look_at(name: str) -> float | None:
            async with free:
                return await self._end_of(name)

        ends = await asyncio.gather(*map(look_at, names))
        self.ends = dict(zip(names, ends, strict=True))

    async def _watch(self) -> None:
        while get_server_config().metrics_certificates:
            await self.look()
            await asyncio.sleep(EVERY)

    async def _end_of(self, name: str) -> float | None:
        try:
            return await (_end_of_file(name) if _is_path(name) else _end_of_shown(name))
        except (Unreadable, ImportError) as error:
            if self._news.news((name, str(error))):
                logger.warning("the certificate %s cannot be read: %s", name, error)
            return None


def _is_path(item: str) -> bool:
    return "/" in item


def _expanded(item: str) -> Iterator[str]:
    """A folder is its `.pem` files; one that has none stands for itself, and cannot be read."""
    files = sorted(map(str, Path(item).glob("*.pem"))) if _is_path(item) else []
    yield from files or [item]


async def _end_of_file(name: str) -> float:
    """Of the first certificate of a PEM file: those after it are its chain. Raises Unreadable."""
    from cryptography import x509

    def read() -> float:
        try:
            found = x509.load_pem_x509_certificates(Path(name).read_bytes())
        except (OSError, ValueError) as error:
            raise Unreadable(str(error)) from None
        return found[0].not_valid_after_utc.timestamp()

    return await asyncio.to_thread(read)


async def _end_of_shown(name: str) -> float:
    """Of what `host:port` shows to who asks for `host`. Raises Unreadable."""
    from cryptography import x509

    host, _, port = name.rpartition(":")
    host = host.strip("[]")
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # only the date is asked for, and nothing is said to it
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(SHOWN_WITHIN):
            _, writer = await asyncio.open_connection(host, int(port), ssl=trusting, server_hostname=host)
            try:
                shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                writer.transport.abort()
        return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()
    except TimeoutError:
        raise Unreadable(f"no answer within {SHOWN_WITHIN:g} s") from None
    except (OSError, ValueError) as error:
        raise Unreadable(str(error)) from None


certificate_watch = CertificateWatch()
"""That of this process."""


@register("flotilla_monitoring")
def check_certificates_can_be_read(**_: Any) -> list[CheckMessage]:
    """W003: certificates are to be watched, and `cryptography`, which reads them, is not there."""
    try:
        watched = get_server_config().metrics_certificates
    except ConfigProblems:  # it cannot be read: the checks of the configuration say why
        return []
    if not watched or find_spec("cryptography") is not None:
        return []
    missing = MissingExtra("metrics_certificates", "jwt", "cryptography")
    return [Warning(f"Certificates are not watched: {missing}.", hint="Install it.", id="flotilla_monitoring.W003")]
