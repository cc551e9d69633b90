"""Builds an image of sources with Icarus: by its compiler alone where they allow it, else by its driver."""

from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.command import CommandResult, Limits, Step
from toolchain.icarus import Ending, compile_argv, ending_of, preprocess_argv
from toolchain.icarus_direct import CONFIG_FILE, SOURCE_FILE, DirectCompiler, is_plain, joined, needs_driver

IMAGE_FILE = "design.vvp"  # of a job's folder
_MACRO_FILE, _EXPANDED_FILE = "macros.sv", "expanded.sv"
COMPILE_LIMITS = Limits(cpu_s=6, wall_s=30.0, memory_bytes=1 << 30, output_bytes=1 << 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class IcarusBuilder:
    """The ways to the installed compiler. `direct` None: by the driver always."""

    iverilog: str
    direct: DirectCompiler | None

    def files(self, sources: dict[str, str], tops: tuple[str, ...]) -> dict[str, str]:
        """The files that `step` reads, for sources by name, in order, with root modules `tops`."""
        if self.direct is None or _need_driver(sources):
            return sources
        are_plain = all(is_plain(text) for text in sources.values())
        config = self.direct.config_text(tops=tops, output=IMAGE_FILE, is_plain=are_plain)
        return {SOURCE_FILE: joined(sources), CONFIG_FILE: config}

    def step(self, sources: dict[str, str], tops: tuple[str, ...]) -> Step:
        """The command that makes IMAGE_FILE. Its messages name the sources."""
        if self.direct is None or _need_driver(sources):
            argv = compile_argv(self.iverilog, sources=tuple(sources), tops=tops, output=IMAGE_FILE)
        else:
            argv = self.direct.argv()
        return Step(argv=argv, limits=COMPILE_LIMITS)


def _need_driver(sources: dict[str, str]) -> bool:
    return any(needs_driver(text) for text in sources.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class MacroJob:
    """A source whose macros are to be expanded, and the files that it may include."""

    text: str
    files: tuple[tuple[str, str], ...] = ()


class MacroChecker:
    """Icarus's preprocessor."""

    def __init__(self, *, iverilog: str) -> None:
        self._iverilog = iverilog

    def files(self, job: MacroJob) -> dict[str, str]:
        return {**dict(job.files), _MACRO_FILE: job.text}

    def steps(self, job: MacroJob) -> tuple[Step, ...]:
        argv = preprocess_argv(self._iverilog, source=_MACRO_FILE, output=_EXPANDED_FILE)
        return (Step(argv=argv, limits=COMPILE_LIMITS),)

    def collects(self, job: MacroJob) -> tuple[str, ...]:
        return (_EXPANDED_FILE,)

    def parse(self, job: MacroJob, results: Sequence[CommandResult], outputs: dict[str, str]) -> str | None:
        """The text without macros and conditionals, or None where the preprocessor has something to say."""
        is_clean = ending_of(results[-1]) is Ending.CLEAN and not results[-1].stderr
        return outputs.get(_EXPANDED_FILE) if is_clean else None
