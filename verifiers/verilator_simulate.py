"""Builds designs with Verilator, once each, and plays rows on them. Says how it went, not whose fault it is.

The runtime library and a precompiled header are built once for a version, a design once for its text: all in a
`BuildCache`. Builds and runs are sandboxed as every simulation is, and a run sees its own program only.
"""

import re
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from toolchain.command import Command, CommandResult, Limits
from toolchain.diagnostics import Diagnostic
from toolchain.errors import InfrastructureError
from toolchain.executor import LocalExecutor
from toolchain.icarus import Ending, ending_of
from toolchain.tool import find_tool
from toolchain.verilator import (
    compile_argv,
    environment,
    link_argv,
    precompile_argv,
    random_start_args,
    root_of,
    runtime_sources,
    translate_argv,
)
from verifiers.build_cache import BuildCache, build_key
from verifiers.simulate import DESIGN_FILE, SIMULATE_LIMITS, Failure, describe_ending
from verifiers.testbench import Testbench
from verifiers.trace import BrokenTrace, Trace, parse_traces
from verifiers.types import Port, Stage
from verifiers.verilator_checker import read_translation, without_comments
from verifiers.verilator_rows import ROWS_MAIN, rows_program, wrapper_module

PROGRAM = "simulation"
BUILD_LIMITS = Limits(cpu_s=60, wall_s=180.0, memory_bytes=2 << 30, output_bytes=4 << 20, file_bytes=256 << 20)
_HEADER, _RUNTIME = "runtime.h", "runtime_{index}.o"
_HEADER_TEXT = '#include "verilated.h"\n#include "verilated_timing.h"\n'
_ROWS_FILE, _WRAPPER_FILE, _ALL_FILE, _ALL_OBJECT, _FOLDER = "rows.txt", "wrapper.v", "all.cpp", "all.o", "obj"
_GENERATED = re.compile(r"[A-Za-z0-9_]+\.cpp")


class BuildFailed(Exception):
    """A build that gave no program, with how it failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class VerilatorSimulator:
    """Verilator on this machine. Raises ToolNotFound without Verilator or g++.

    `isolation` is "auto" or a rung of `toolchain.sandbox`; `scratch` is where folders of builds and runs are made.
    """

    def __init__(self, *, isolation: str = "auto", cache: BuildCache, scratch: Path | None = None) -> None:
        self._verilator, self._gxx = find_tool("verilator"), find_tool("g++")
        self.verilator, self.root = str(self._verilator.path), root_of(self._verilator)
        self.versions = {tool.name: tool.version for tool in (self._verilator, self._gxx)}
        self._cache, self._scratch = cache, scratch
        runtime = self._runtime(isolation)
        self._runtime_folder = runtime
        self.executor = LocalExecutor(isolation=isolation, read_only=(self.root, runtime), scratch=scratch)
        self.isolation = self.executor.isolation

    def program(self, text: str, top: str, ports: tuple[Port, ...]) -> Path | Failure:
        """A program that plays rows on a design, built now or before."""
        name, wrapper = wrapper_module(text, top, ports)
        files = {DESIGN_FILE: without_comments(text), _WRAPPER_FILE: wrapper, ROWS_MAIN: rows_program(ports)}
        translate = translate_argv(
            str(self._verilator.path), sources=(_WRAPPER_FILE, DESIGN_FILE), top=name, folder=_FOLDER
        )
        key = build_key((*map(str, self.versions.items()), *translate, *(f"{n}\n{t}" for n, t in files.items())))
        try:
            return self._cache.get(key, lambda place: self._build(files, translate, place)) / PROGRAM
        except BuildFailed as error:
            return error.failure

    def play(self, program: Path, ports: tuple[Port, ...], row_file: str, *, start_seed: int) -> Trace | Failure:
        """Run the rows of a `testbench.row_file_text` on a program; registers start at random from `start_seed`."""
        nonce = secrets.token_hex(8)
        with tempfile.TemporaryDirectory(prefix="earl-job-", dir=self._scratch) as name:
            folder = Path(name)
            shutil.copy(program, folder / PROGRAM)
            folder.joinpath(_ROWS_FILE).write_text(row_file)
            argv = (f"./{PROGRAM}", _ROWS_FILE, nonce, *random_start_args(start_seed))
            result = self.executor.run(Command(argv=argv, cwd=folder, limits=SIMULATE_LIMITS))
        ending = ending_of(result)
        if ending is not Ending.CLEAN:
            return Failure(stage=Stage.SIMULATE, ending=ending, diagnostics=(describe_ending(ending, result),))
        outputs = tuple(port for port in ports if port.direction == "output")
        testbench = Testbench(text="", top="", nonces=(nonce,), outputs=outputs)
        traces = parse_traces(result.stdout, testbench, (row_file.count("\n"),))
        if isinstance(traces, BrokenTrace):
            diagnostic = Diagnostic(message=f"the simulation did not run to its end: {traces.reason}", code="trace")
            return Failure(stage=Stage.SIMULATE, ending=ending, diagnostics=(diagnostic,))
        [[trace]] = traces
        return trace

    def _build(self, files: dict[str, str], translate: tuple[str, ...], place: Path) -> None:
        """Fill `place` with a design's program. Raises BuildFailed."""
        with tempfile.TemporaryDirectory(prefix="earl-build-", dir=self._scratch) as name:
            folder = Path(name)
            for file_name, text in files.items():
                folder.joinpath(file_name).write_text(text, encoding="utf-8", errors="replace")
            self._translate(translate, folder)
            generated = sorted(path.name for path in folder.joinpath(_FOLDER).glob("*.cpp"))
            assert all(_GENERATED.fullmatch(part) for part in generated), generated
            parts = [f"{_FOLDER}/{part}" for part in generated] + [ROWS_MAIN]
            folder.joinpath(_ALL_FILE).write_text("".join(f'#include "{part}"\n' for part in parts))
            header, gxx = str(self._runtime_folder / _HEADER), str(self._gxx.path)
            compiler = compile_argv(
                gxx, self.root, source=_ALL_FILE, output=_ALL_OBJECT, header=header, folders=(_FOLDER,)
            )
            objects = (_ALL_OBJECT, *sorted(str(path) for path in self._runtime_folder.glob("*.o")))
            for argv in (compiler, link_argv(gxx, objects=objects, output=PROGRAM)):
                _require_clean(self.executor.run(Command(argv=argv, cwd=folder, limits=BUILD_LIMITS)))
            shutil.copy(folder / PROGRAM, place / PROGRAM, follow_symlinks=False)

    def _translate(self, argv: tuple[str, ...], folder: Path) -> None:
        command = Command(argv=argv, cwd=folder, env=environment(self.root), limits=BUILD_LIMITS)
        found = read_translation(self.executor.run(command))
        if isinstance(found, Failure):
            raise BuildFailed(found)
        errors = tuple(diagnostic for diagnostic in found if diagnostic.severity == "error")
        if errors:
            raise BuildFailed(Failure(stage=Stage.COMPILE, ending=Ending.REFUSED, diagnostics=errors))

    def _runtime(self, isolation: str) -> Path:
        """The folder with the runtime's objects and the precompiled header, built now or before."""
        executor = LocalExecutor(isolation=isolation, read_only=(self.root,))
        gxx, sources = str(self._gxx.path), runtime_sources(self.root)
        commands = [
            compile_argv(gxx, self.root, source=str(source), output=_RUNTIME.format(index=index))
            for index, source in enumerate(sources)
        ]
        commands.append(precompile_argv(gxx, self.root, header=_HEADER, output=f"{_HEADER}.gch"))
        key = build_key((*map(str, self.versions.items()), *(part for argv in commands for part in argv)))
        return self._cache.get(key, _runtime_builder(executor, commands))


def _runtime_builder(executor: LocalExecutor, commands: list[tuple[str, ...]]) -> Callable[[Path], None]:
    def build(place: Path) -> None:
        place.joinpath(_HEADER).write_text(_HEADER_TEXT)
        for argv in commands:
            try:
                _require_clean(executor.run(Command(argv=argv, cwd=place, limits=BUILD_LIMITS)))
            except BuildFailed as error:
                said = "; ".join(diagnostic.message for diagnostic in error.failure.diagnostics)
                raise InfrastructureError(f"Verilator's runtime does not compile here: {said}") from error

    return build


def _require_clean(result: CommandResult) -> None:
    """A C++ compiler that refuses what Verilator wrote has judged Verilator, not the design."""
    ending = ending_of(result)
    if ending is not Ending.CLEAN:
        ending = Ending.CRASH if ending is Ending.REFUSED else ending
        raise BuildFailed(Failure(stage=Stage.COMPILE, ending=ending, diagnostics=(describe_ending(ending, result),)))
