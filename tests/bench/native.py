"""Compiles the native programs (the load client, the C floor) when their sources are newer than what is there."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.cluster.support.processes import ROOT

SOURCES = Path(__file__).resolve().parent / "native"
BUILT = ROOT / "var" / "bench" / "build"
PROGRAMS = {
    "load": (
        "load.c",
        "connection.c",
        "tls.c",
        "http.c",
        "dialect.c",
        "protobuf.c",
        "template.c",
        "publish.c",
        "churn.c",
        "tally.c",
    ),
    "floor": ("floor.c", "sha1.c"),
}


def missing() -> str | None:
    """Why nothing can be compiled here, or None."""
    return None if shutil.which("cc") else "no C compiler (cc) on the PATH"


@cache
def has_openssl() -> bool:
    """Whether the load client can speak TLS: OpenSSL's headers and library are here."""
    command = ["cc", "-x", "c", "-", "-o", os.devnull, "-lssl", "-lcrypto"]
    source = "#include <openssl/ssl.h>\nint main(void) { return SSL_CTX_new(TLS_client_method()) == 0; }"
    return subprocess.run(command, input=source, capture_output=True, text=True).returncode == 0


def program(name: str) -> Path:
    """The path of a program, compiled if need be."""
    sources = [SOURCES / source for source in PROGRAMS[name]]
    made = BUILT / name
    newest = max(path.stat().st_mtime for path in (*sources, *SOURCES.glob("*.h")))
    if not made.exists() or made.stat().st_mtime < newest:
        BUILT.mkdir(parents=True, exist_ok=True)
        tls = (["-lssl", "-lcrypto"] if has_openssl() else ["-DNO_TLS"]) if name == "load" else []
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", made, *sources, *tls], check=True)
    return made
