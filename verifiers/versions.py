"""The versions of everything that a judgement depends on, for the record of a run."""

from importlib.metadata import version

from toolchain.errors import ToolNotFound
from toolchain.tool import find_tool

MISSING = "missing"
_TOOLS = {"iverilog": "iverilog", "vvp": "vvp", "bubblewrap": "bwrap"}  # our name -> that of versions.toml


def tool_versions() -> dict[str, str]:
    """Versions of iverilog, vvp, bubblewrap and pyslang; `MISSING` for a program that is not installed.

    Raises InfrastructureError for a program that is too old or gives no version.
    """
    return {name: _version_of(tool) for name, tool in _TOOLS.items()} | {"pyslang": version("pyslang")}


def _version_of(tool: str) -> str:
    try:
        return find_tool(tool).version
    except ToolNotFound:
        return MISSING
