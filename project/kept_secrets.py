"""Random secrets that are made at the first start and kept in a file only this user can read."""

import os
import secrets
from pathlib import Path

from flotilla.realtime.server.private_files import private_files, private_folder


def kept_secret(path: Path) -> str:
    """The secret in `path`; made there when it does not exist. Processes that start together agree on one."""
    if not path.parent.exists():
        private_folder(path.parent)
    private_files(path)
    made = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(made, path)  # whole or not at all, and never over another's
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return path.read_text().strip()
