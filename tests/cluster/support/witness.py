"""The log of an instance as a witness: a traceback in it is a defect, whoever sent what."""

from pathlib import Path

TRACES = ("Traceback", "Unhandled", '"CRITICAL"')


class Witness:
    """Reads what an instance logs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = path.stat().st_size

    def check(self) -> None:
        """Fail if a traceback was logged since the last look, so that the input that was just sent is shown."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            news = file.read()
        self._read += len(news)
        found = [line for line in news.decode(errors="replace").splitlines() if any(t in line for t in TRACES)]
        assert not found, found[0]
