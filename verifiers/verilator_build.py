"""Builds programs with Verilator, once each: a runtime and a precompiled header for a version, a design for its text.

All of it is kept in a `BuildCache`. Builds are sandboxed as every simulation is. Says how a build failed, not whose
fault it is.
"""

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolchain.command import Command, CommandResult, Limits
from toolchain.errors import InfrastructureError
from toolchain.executor import LocalExecutor
from toolchain.icarus import Ending, ending_of
from toolchain.tool import find_tool
from toolchain.verilator import (
    compile_argv,
    environment,
    link_argv,
    precompile_argv,
    root_of,
    runtime_sources,
    translate_argv,
)
from verifiers.build_cache import BuildCache, build_key
from verifiers.simulate import Failure, describe_ending
from verifiers.types import Stage
from verifiers.verilator_checker import read_translation

PROGRAM = "simulation"
BUILD_LIMITS = Limits(cpu_s=60, wall_s=180.0, memory_bytes=2 << 30, output_bytes=4 << 20, file_bytes=256 << 20)
_HEADER = "runtime.h"
_HEADER_TEXT = '#include "verilated.h"\n#include "verilated_timing.h"\n'
_VPI_OBJECT = "verilated_vpi.o"
_ALL_FILE, _ALL_OBJECT, _FOLDER = "all.cpp", "all.o", "obj"
_GENERATED = re.compile(r"[A-Za-z0-9_]+\.cpp")


class BuildFailed(Exception):
    """A build that gave no program, with how it failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramSource:
    """What a program is made of: Verilog and a C++ file with its main function, all in `files`."""

    files: dict[str, str]
    verilog: tuple[str, ...]  # names in `files`, in the order of compilation
    top: str
    main: str  # a name in `files`
    has_vpi: bool = False
    parameters: tuple[tuple[str, str], ...] = ()  # of the top module
    link_options: tuple[str, ...] = ()


class VerilatorBuilder:
    """Verilator on this machine. Raises ToolNotFound without Verilator or g++.

    `isolation` is "auto" or a rung of `toolchain.sandbox`; `read_only` are more folders that programs may read;
    `scratch` is where folders of builds are made.
    """

    def __init__(
        self, *, isolation: str, cache: BuildCache, read_only: tuple[Path, ...] = (), scratch: Path | None = None
    ) -> None:
        tool, gxx = find_tool("verilator"), find_tool("g++")
        self.verilator, self.root = str(tool.path), root_of(tool)
        self.versions = {"verilator": tool.version, "g++": gxx.version}
        self._gxx = str(gxx.path)
        self._cache, self._scratch = cache, scratch
        self._runtime = self._build_runtime(isolation)
        folders = (self.root, self._runtime, *read_only)
        self.executor = LocalExecutor(isolation=isolation, read_only=folders, scratch=scratch)

    def program(self, source: ProgramSource) -> Path | Failure:
        """The program of a source, built now or before."""
        translate = translate_argv(
            self.verilator,
            sources=source.verilog,
            top=source.top,
            folder=_FOLDER,
            has_vpi=source.has_vpi,
            parameters=source.parameters,
        )
        parts = (self._runtime.name, *translate, *source.link_options)  # the first: versions and C++ options
        key = build_key((*parts, *(f"{name}\n{text}" for name, text in source.files.items())))
        try:
            return self._cache.get(key, lambda place: self._build(source, translate, place)) / PROGRAM
        except BuildFailed as error:
            return error.failure

    def _build(self, source: ProgramSource, translate: tuple[str, ...], place: Path) -> None:
        """Fill `place` with a program. Raises BuildFailed."""
        with tempfile.TemporaryDirectory(prefix="earl-build-", dir=self._scratch) as name:
            folder = Path(name)
            for file_name, text in source.files.items():
                folder.joinpath(file_name).write_text(text, encoding="utf-8", errors="replace")
            self._translate(translate, folder)
            generated = sorted(path.name for path in folder.joinpath(_FOLDER).glob("*.cpp"))
            assert all(_GENERATED.fullmatch(part) for part in generated), generated
            parts = [f"{_FOLDER}/{part}" for part in generated] + [source.main]
            folder.joinpath(_ALL_FILE).write_text("".join(f'#include "{part}"\n' for part in parts))
            header = str(self._runtime / _HEADER)
            compiler = compile_argv(
                self._gxx, self.root, source=_ALL_FILE, output=_ALL_OBJECT, header=header, folders=(".", _FOLDER)
            )
            runtime = sorted(self._runtime.glob("*.o"))
            objects = (_ALL_OBJECT, *(str(path) for path in runtime if source.has_vpi or path.name != _VPI_OBJECT))
            linker = link_argv(self._gxx, objects=objects, output=PROGRAM, options=source.link_options)
            for argv in (compiler, linker):
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

    def _build_runtime(self, isolation: str) -> Path:
        """The folder with the runtime's objects and the precompiled header, built now or before."""
        executor = LocalExecutor(isolation=isolation, read_only=(self.root,))
        commands = [
            compile_argv(self._gxx, self.root, source=str(source), output=f"{source.stem}.o")
            for source in runtime_sources(self.root, has_vpi=True)
        ]
        commands.append(precompile_argv(self._gxx, self.root, header=_HEADER, output=f"{_HEADER}.gch"))
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
