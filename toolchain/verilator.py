"""Verilator and the C++ compiler behind it: builds argv lists and reads Verilator's log. Pure: runs nothing.

A build is: `translate` (Verilog to C++), `compile` (all of it as one text, with a precompiled header), `link` (with a
runtime library that was built once). No make and no Perl, so that a sandbox needs neither.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from toolchain.diagnostics import Diagnostic
from toolchain.tool import Tool

PREFIX = "Vtop"  # of the C++ class and of the names of its files
COCOTB_MINIMUM = (5, 36)  # what cocotb 2 needs

_MESSAGE = re.compile(
    r"^%(?P<kind>Error|Warning)(?:-(?P<code>[A-Z0-9_]+))?: (?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? "
)
_PLACELESS = re.compile(r"^%Error(?:-(?P<code>[A-Z0-9_]+))?: (?P<text>(?!Exiting due to).+)$")
_RUNTIME = ("verilated", "verilated_timing", "verilated_threads")
_RUNTIME_IF_THERE = ("verilated_random", "verilated_probdist")  # of newer releases
_CXX_FLAGS = ("-std=c++20", "-fcoroutines", "-O0", "-w", "-DVM_COVERAGE=0", "-DVM_SC=0")
_CXX_FLAGS += ("-DVM_TRACE=0",)


def root_of(tool: Tool) -> Path:
    """The folder that Verilator calls VERILATOR_ROOT: the one with `include/verilated.h`."""
    prefix = tool.path.resolve().parent.parent
    return prefix if prefix.joinpath("include", "verilated.h").is_file() else prefix / "share" / "verilator"


def environment(root: Path) -> dict[str, str]:
    """What every call of Verilator needs in its environment."""
    return {"VERILATOR_ROOT": str(root)}


def can_cocotb(version: str) -> bool:
    """Whether cocotb 2 works with this Verilator."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2]) >= COCOTB_MINIMUM


def lint_argv(verilator: str, *, source: str, top: str) -> tuple[str, ...]:
    """The argv that checks a source: every warning but those of style, none of them fatal."""
    return (verilator, "--lint-only", "--timing", "-Wall", "-Wno-style", "-Wno-fatal", "--top-module", top, source)


def translate_argv(
    verilator: str,
    *,
    sources: Sequence[str],
    top: str,
    folder: str,
    has_vpi: bool = False,
    parameters: Sequence[tuple[str, str]] = (),
) -> tuple[str, ...]:
    """The argv that writes C++ for `top`, with `parameters`, into `folder`.

    Two-state values start random; a run's arguments seed them.
    """
    vpi = ("--vpi", "--public-flat-rw") if has_vpi else ()
    return (
        verilator,
        *("--cc", "--timing", "--timescale", "1ns/1ps", "-Wno-fatal", "-Wno-lint", "-Wno-style"),
        *("--x-assign", "unique", "--x-initial", "unique", "--output-split", "0"),
        *("--top-module", top, "--prefix", PREFIX, "--Mdir", folder),
        *vpi,
        *(f"-G{name}={value}" for name, value in parameters),
        *sources,
    )


def random_start_args(seed: int) -> tuple[str, ...]:
    """Arguments of a built simulation: registers start at random values drawn from `seed`."""
    return ("+verilator+rand+reset+2", f"+verilator+seed+{seed % 0x7FFFFFFE + 1}")


def constant_start_args(bit: int) -> tuple[str, ...]:
    """Arguments of a built simulation: every bit of every register starts at `bit`."""
    return (f"+verilator+rand+reset+{bit}",)


def runtime_sources(root: Path, *, has_vpi: bool = False) -> tuple[Path, ...]:
    """The C++ files of the runtime library."""
    include = root / "include"
    optional = [include / f"{name}.cpp" for name in _RUNTIME_IF_THERE]
    names = (*_RUNTIME, "verilated_vpi") if has_vpi else _RUNTIME
    return (*(include / f"{name}.cpp" for name in names), *(path for path in optional if path.is_file()))


def precompile_argv(gxx: str, root: Path, *, header: str, output: str) -> tuple[str, ...]:
    """The argv that precompiles a header; the same options as in `compile_argv`, or the compiler will not use it."""
    return (gxx, *_flags(root), "-x", "c++-header", header, "-o", output)


def compile_argv(
    gxx: str, root: Path, *, source: str, output: str, header: str | None = None, folders: Sequence[str] = ()
) -> tuple[str, ...]:
    """The argv that compiles one C++ file, after a precompiled header (named without `.gch`) where given.

    `folders` are searched for headers.
    """
    start = () if header is None else ("-include", header)
    return (gxx, *_flags(root), *start, *(f"-I{folder}" for folder in folders), "-c", source, "-o", output)


def link_argv(gxx: str, *, objects: Sequence[str], output: str, options: Sequence[str] = ()) -> tuple[str, ...]:
    """The argv that links objects and libraries into a program."""
    return (gxx, "-o", output, *objects, *options, "-pthread")


def _flags(root: Path) -> tuple[str, ...]:
    include = root / "include"
    return (*_CXX_FLAGS, f"-I{include}", f"-I{include / 'vltstd'}")


def parse_log(text: str) -> tuple[Diagnostic, ...]:
    """The findings of Verilator's stderr, in order, without their excerpts, hints and the closing count.

    `code` is Verilator's name of a warning ("LATCH"), "UNSUPPORTED" (a construct that it lacks), "syntax", "internal"
    or "".
    """
    return tuple(found for line in text.splitlines() if (found := _parse_line(line)) is not None)


def _parse_line(line: str) -> Diagnostic | None:
    match = _MESSAGE.match(line)
    if match is None:
        placeless = _PLACELESS.match(line)
        return placeless and Diagnostic(message=placeless["text"], code=_code_of(placeless["code"], placeless["text"]))
    message = line[match.end() :]
    return Diagnostic(
        message=message,
        severity=match["kind"].lower(),
        code=_code_of(match["code"], message),
        file=match["file"],
        line=int(match["line"]),
    )


def _code_of(code: str | None, message: str) -> str:
    if message.startswith("Internal Error"):
        return "internal"
    if code is None and message.startswith("syntax error"):
        return "syntax"
    return code or ""
