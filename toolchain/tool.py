"""Finds a program and its version. Does not install or run anything else.

`versions.toml` beside this file lists every tool. An environment variable (EARL_IVERILOG, ...) overrides all; a tool
that a Python package carries is taken from there before PATH, and its version is then the package's.
"""

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from toolchain.errors import InfrastructureError, ToolNotFound

_VERSION_WALL_S = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """An installed program."""

    name: str
    path: Path  # absolute
    version: str

    @property
    def prefix(self) -> Path:
        """The folder that the program was installed under: `/usr` for `/usr/bin/iverilog`."""
        return self.path.resolve().parent.parent


@functools.cache
def _table() -> dict[str, dict]:
    return tomllib.loads(resources.files("toolchain").joinpath("versions.toml").read_text())


@functools.cache
def find_tool(name: str) -> Tool:
    """The tool `name` of versions.toml, looked up once a process.

    Raises ToolNotFound (not installed) or InfrastructureError (no version in its answer, or one that is too old).
    """
    assert name in _table(), f"{name!r} is not in versions.toml"
    entry = _table()[name]
    packaged = _packaged(entry)
    path = packaged or _locate(name, entry)
    version = importlib.metadata.version(entry["python_package"]) if packaged else _ask_version(path, entry)
    if _as_numbers(version) < _as_numbers(entry["minimum"]):
        raise InfrastructureError(
            f"{name} {version} at {path} is too old: {entry['minimum']} or newer is needed. "
            f"Install a newer one ({_how_to_install(entry)}) or point {entry['environment']} at one."
        )
    return Tool(name=name, path=path, version=version)


def _packaged(entry: dict) -> Path | None:
    """The program inside an installed Python package, unless the environment names another."""
    if "python_package" not in entry or entry["environment"] in os.environ:
        return None
    spec = importlib.util.find_spec(entry["python_package"])
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / entry["path_in_package"]
    return path if path.is_file() else None


def _locate(name: str, entry: dict) -> Path:
    override = os.environ.get(entry["environment"])
    program = entry.get("program", name)
    found = shutil.which(override or program)
    if found is None:
        sought = f"{entry['environment']}={override}" if override else f"{program} on PATH"
        raise ToolNotFound(
            f"{name} was not found (looked for {sought}). "
            f"Install it ({_how_to_install(entry)}) or set {entry['environment']} to its full path."
        )
    return Path(found).absolute()


def _how_to_install(entry: dict) -> str:
    package = entry.get("python_package")
    apt = f"apt-get install {entry['apt_package']}"
    return f"pip install {package}, or {apt}" if package else apt


def _ask_version(path: Path, entry: dict) -> str:
    argv = [str(path), *entry["version_argv"]]
    try:
        asked = subprocess.run(argv, capture_output=True, text=True, timeout=_VERSION_WALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfrastructureError(f"{path} could not be asked for its version: {error}. Reinstall it.") from error
    match = re.search(entry["version_pattern"], asked.stdout + asked.stderr)
    if match is None:
        raise InfrastructureError(
            f"{' '.join(argv)} answered without a version (exit code {asked.returncode}): "
            f"{(asked.stdout + asked.stderr)[:200]!r}. Check that {entry['environment']} names the right program."
        )
    return match.group(1)


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
