"""The container engine, and the images of docker-compose.yml: are both to be had?

Images are pulled where a registry answers. Where none does, local images of the same tags will do: the digests that
the compose file asks for are left out then (IMAGE_DIGEST=""). Standard library only: run as a program it says why the
tests of the stack cannot run here, or nothing when they can.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PULL_WITHIN = 300.0  # seconds


class NoEngine(Exception):
    """There is nothing to run containers with, or an image that cannot be had."""


def find_engine() -> None:
    """Raises NoEngine when there is none, or no Compose."""
    if shutil.which("docker") is None:
        raise NoEngine("no docker on the PATH")
    for words in (["info"], ["compose", "version"]):
        try:
            docker(*words)
        except AssertionError as error:
            raise NoEngine(str(error)) from None


def get_images() -> list[str]:
    """Have every image that is not built here; gives the tags of those that no registry gave. Raises NoEngine."""
    services = list(json.loads(docker("compose", "config", "--format", "json"))["services"].values())
    named = {service["image"] for service in services} - {s["image"] for s in services if "build" in s}
    bases = [service["build"]["args"]["PYTHON_IMAGE"] for service in services if "build" in service]
    local = []
    for image in sorted(named.union(bases)):
        if not _from_registry(image):
            try:
                docker("pull", "--quiet", image, within=PULL_WITHIN)
            except AssertionError:
                by_tag = image.partition("@")[0]
                if not docker("image", "ls", "--quiet", by_tag):
                    raise NoEngine(f"the image {image} is neither here nor to be had") from None
                local.append(by_tag)
    return local


def _from_registry(image: str) -> bool:
    try:
        return bool(json.loads(docker("image", "inspect", "--format", "{{json .RepoDigests}}", image)))
    except AssertionError:
        return False


def docker(*words: str, within: float = 60.0, stderr: int = subprocess.PIPE) -> str:
    """Run `docker …`. Raises AssertionError with what it complained about."""
    return run(["docker", *words], within, None, stderr)


def run(command: list[str], within: float, env: Mapping[str, str] | None = None, stderr: int = subprocess.PIPE) -> str:
    """Run a command to its end. Raises AssertionError."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=within, check=False
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(f"`{' '.join(command)}` did not end within {within:g} s") from None
    if done.returncode:
        raise AssertionError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    try:
        find_engine()
        get_images()
    except NoEngine as reason:
        sys.exit(" ".join(str(reason).split()))
