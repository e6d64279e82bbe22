"""When certificates end: of files, of folders, and of what an address shows; what cannot be read is told as such."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.checks import run_checks
from prometheus_client import CollectorRegistry, generate_latest

from flotilla.monitoring.certificates import CertificateWatch, certificate_watch
from flotilla.monitoring.metrics import NodeCollector

ENDS = datetime(2031, 5, 17, 12, tzinfo=UTC)
ENDED = datetime(2021, 5, 17, 12, tzinfo=UTC)


def make(path: Path, ends: datetime) -> Path:
    """A file with a certificate, one of a chain behind it, and the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])

    def one(ends: datetime) -> bytes:
        made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        dated = made.not_valid_before(ends - timedelta(days=90)).not_valid_after(ends)
        return dated.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    kind = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(one(ends) + one(ends + timedelta(days=3650)) + key.private_bytes(*kind))
    return path


def told() -> str:
    registry = CollectorRegistry()
    registry.register(NodeCollector())
    return generate_latest(registry).decode()


@pytest_asyncio.fixture
async def watch(configured: Any) -> AsyncIterator[CertificateWatch]:
    """The process's watch, with nothing to watch yet."""
    yield certificate_watch
    certificate_watch.ends = {}


@pytest_asyncio.fixture
async def shown(tmp_path: Path) -> AsyncIterator[str]:
    """An address that shows a certificate that has ended and that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make(tmp_path / "shown.pem", ENDED))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.asyncio
async def test_a_file_a_folder_and_an_address_tell_when_they_end(
    watch: CertificateWatch, configured: Any, tmp_path: Path, shown: str
) -> None:
    """The first certificate of a file counts, not its chain; one that has ended has its date too."""
    (tmp_path / "folder").mkdir()
    file = make(tmp_path / "site.pem", ENDS)
    a, b = (
        make(tmp_path / "folder" / name, ENDS + timedelta(days=days)) for days, name in ((1, "a.pem"), (2, "b.pem"))
    )
    configured.METRICS_CERTIFICATES = [str(file), str(tmp_path / "folder"), shown]
    await watch.look()
    day = 86400.0
    expected = {str(file): ENDS.timestamp(), str(a): ENDS.timestamp() + day, str(b): ENDS.timestamp() + 2 * day}
    assert watch.ends == expected | {shown: ENDED.timestamp()}
    text = told()
    assert f'flotilla_tls_certificate_expiry_timestamp_seconds{{certificate="{shown}"}} 1.6212528e+09' in text
    assert f'flotilla_tls_certificate_readable{{certificate="{file}"}} 1.0' in text


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_told_and_named_once(
    watch: CertificateWatch, configured: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No such file, no certificate in it, nobody at an address; and it is told again when it can be read."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pem").write_text("hello")
    names = [str(tmp_path / "none.pem"), str(tmp_path / "text.pem"), str(tmp_path / "empty"), "127.0.0.1:9"]
    configured.METRICS_CERTIFICATES = names
    with caplog.at_level(logging.WARNING):
        await watch.look()
        await watch.look()
    assert watch.ends == dict.fromkeys(names)
    lines = [record.getMessage() for record in caplog.records if record.name == "flotilla.monitoring.certificates"]
    assert len(lines) == len(names) and all(any(name in line for line in lines) for name in names)
    text = told()
    assert all(f'flotilla_tls_certificate_readable{{certificate="{name}"}} 0.0' in text for name in names)
    assert "flotilla_tls_certificate_expiry_timestamp_seconds{" not in text
    make(tmp_path / "none.pem", ENDS)
    await watch.look()
    assert watch.ends[names[0]] == ENDS.timestamp()


@pytest.mark.asyncio
async def test_a_change_is_seen_while_the_process_runs(
    watch: CertificateWatch, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewed certificate, without a restart."""
    monkeypatch.setattr("flotilla.monitoring.certificates.EVERY", 0.01)
    file = make(tmp_path / "site.pem", ENDED)
    configured.METRICS_CERTIFICATES = [str(file)]
    await watch.start()
    try:
        async with asyncio.timeout(30):
            while watch.ends.get(str(file)) != ENDED.timestamp():
                await asyncio.sleep(0.01)
            make(tmp_path / "new.pem", ENDS).replace(file)
            while watch.ends.get(str(file)) != ENDS.timestamp():
                await asyncio.sleep(0.01)
    finally:
        await watch.stop()


def test_nothing_is_told_where_nothing_is_watched(configured: Any) -> None:
    assert "flotilla_tls_certificate" not in told()
    assert not [found for found in run_checks(tags=["flotilla_monitoring"]) if found.id == "flotilla_monitoring.W003"]


def test_a_check_names_what_reads_them_when_it_is_missing(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    configured.METRICS_CERTIFICATES = ["/etc/site.pem"]
    monkeypatch.setattr("flotilla.monitoring.certificates.find_spec", lambda name: None)
    (found,) = [one for one in run_checks(tags=["flotilla_monitoring"]) if one.id == "flotilla_monitoring.W003"]
    assert "cryptography" in found.msg
