"""The program in `java/`, built once: a program that hosts clients of the Java SDK as Maven Central has it.

The jar is kept under the digest of its sources; only a first build needs Maven and a network.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from tests.cluster.support.driven import Program
from tests.cluster.support.processes import ROOT
from tests.foreign.suite import FETCH_WITHIN, fetch, tool

PROJECT = Path(__file__).parent / "java"
POM = PROJECT / "pom.xml"
KEPT = ROOT / "var" / "foreign"
BUILT_WITHIN = FETCH_WITHIN  # seconds
SMALL = ("-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def driver() -> Program:
    """A process for Java clients; where it cannot be built, the test is skipped."""
    return Program(tool("java"), *SMALL, "-jar", str(built()), name="java")


def built() -> Path:
    """The jar of the sources as they stand."""
    jar = KEPT / f"java-{_digest()}.jar"
    if not jar.exists():
        maven = tool("mvn")
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as out:
            fetch(maven, "-q", "-B", "-f", str(POM), f"-Dout={out}", "package")
            os.replace(Path(out) / "driver.jar", jar)
    return jar


def _digest() -> str:
    digest = hashlib.sha256()
    for source in sorted((POM, *PROJECT.rglob("*.java"))):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
