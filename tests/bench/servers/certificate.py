"""The certificate that every server with TLS has here: made anew for each run, and trusted by nobody else."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench import native


@dataclass(frozen=True, slots=True)
class Certificate:
    """Two files."""

    key: Path
    chain: Path


def missing() -> str | None:
    """Why there is no TLS here, or None."""
    if shutil.which("openssl") is None:
        return "no openssl on the PATH"
    return None if native.has_openssl() else "no OpenSSL headers (libssl-dev)"


def make(home: Path) -> Certificate:
    """A key on the curve P-256 and its self-signed certificate, in a folder."""
    made = Certificate(home / "key.pem", home / "chain.pem")
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-keyout", str(made.key), "-out", str(made.chain)]
    subprocess.run(["openssl", "req", "-x509", *words, *files], check=True, capture_output=True)
    return made


def trusting() -> ssl.SSLContext:
    """For requests to such a server."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
