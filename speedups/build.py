"""Compiles `flotilla._speedups` with the machine's C compiler: `python -m flotilla.speedups.build [FOLDER]`.

Uses nothing but the standard library, so that `make` and the build of a wheel can run it before anything is installed.
CC and CFLAGS are respected. The module has Python's stable interface: one file for CPython 3.11 and all that follow.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

FILE = "_speedups.abi3.so"
PACKAGE = Path(__file__).absolute().parent.parent  # not what a link leads to: `flotilla`, wherever this lies
SOURCES = PACKAGE / "speedups" / "native"
SHARED = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
OPTIONS = ["-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]


class NotCompiled(Exception):
    """Why there is no compiled module; everything works without it."""


def compile_into(target: Path) -> None:
    """Make the file `target`, whole or not at all. Raises NotCompiled."""
    command = [*_compiler(), *OPTIONS, *SHARED, f"-I{sysconfig.get_path('include')}"]
    command += shlex.split(os.environ.get("CFLAGS", ""))
    command += sorted(path.name for path in SOURCES.glob("*.c"))
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        done = subprocess.run([*command, "-o", str(unfinished)], cwd=SOURCES, capture_output=True, text=True)
        if done.returncode:
            raise NotCompiled(f"{shlex.join(command)} failed:\n{done.stderr.strip()}")
        os.replace(unfinished, target)  # a process that has the former one goes on with it
    except OSError as error:
        raise NotCompiled(str(error)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _compiler() -> list[str]:
    if platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise NotCompiled("this Python has not the stable interface that the module is written for")
    for words in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        command = shlex.split(words or "")
        if command and shutil.which(command[0]):
            return command
    raise NotCompiled("there is no C compiler")


def main(words: list[str]) -> int:
    """Compile into the package that this belongs to, or into the folder that is named. The status is 1 when that was
    not possible."""
    try:
        compile_into(Path(words[0] if words else PACKAGE).absolute() / FILE)
    except NotCompiled as reason:
        sys.stderr.write(f"flotilla._speedups is not compiled, Python does its work: {reason}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
