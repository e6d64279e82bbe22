"""Puts the compiled module `flotilla._speedups` into a wheel; where it cannot be compiled, the wheel is of pure Python.

A wheel with it has the tag of the stable interface and of this machine: one for CPython 3.11 and all that follow.
`FLOTILLA_PURE_PYTHON=1` leaves it out: that wheel is the same for every machine.
"""

import importlib.util
import os
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TAG = "cp311-abi3"


def compiler(root: str) -> ModuleType:
    """`flotilla.speedups.build`, by its path: what the package itself imports need not be there while it is built."""
    path = Path(root, "flotilla", "speedups", "build.py")
    spec = importlib.util.spec_from_file_location("flotilla_speedups_build", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class CompiledModule(BuildHookInterface[Any]):
    """The hook of hatchling."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into a folder that lasts as long as the build."""
        if os.environ.get("FLOTILLA_PURE_PYTHON", "") not in ("", "0"):
            return
        build = compiler(self.root)
        self._folder = tempfile.TemporaryDirectory()
        compiled = Path(self._folder.name, build.FILE)
        try:
            build.compile_into(compiled)
        except build.NotCompiled as reason:
            self.app.display_warning(f"flotilla._speedups is not compiled, Python does its work: {reason}")
            return
        build_data["force_include"][str(compiled)] = f"flotilla/{build.FILE}"
        build_data["pure_python"] = False
        build_data["tag"] = f"{TAG}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel is written."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()
