"""What to run, under which limits, and what came of it. Data only: `toolchain.executor` runs it."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of one command. Each is enforced by the executor; passing one ends the process group by SIGKILL."""

    wall_s: float = 10.0
    cpu_s: int = 10  # RLIMIT_CPU, whole seconds
    memory_bytes: int = 1 << 30  # RLIMIT_AS
    output_bytes: int = 4 << 20  # stdout and stderr together; what comes after is drained and dropped
    file_bytes: int = 64 << 20  # RLIMIT_FSIZE: the largest file it may write
    processes: int = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """An argv list to run in a folder. Never a shell string."""

    argv: tuple[str, ...]
    cwd: Path
    env: dict[str, str] = field(default_factory=dict)  # added to a minimal environment, not to ours
    limits: Limits = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandResult:
    """What a command left behind.

    `returncode` is negative for a signal, as in subprocess. `is_timed_out` means that the wall limit killed it.
    """

    returncode: int
    stdout: str
    stderr: str
    duration_s: float
    is_timed_out: bool = False
    is_output_truncated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One command of several that share a folder. It runs in that folder; argv names files relative to it."""

    argv: tuple[str, ...]
    limits: Limits
    env: dict[str, str] = field(default_factory=dict)  # as in Command


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderJob:
    """A fresh folder with `files` (relative name -> text) and the steps to run there, in order.

    A step that does not end with exit code 0 within its limits is the last that runs. `collects` names the files whose
    text is wanted afterwards.
    """

    files: dict[str, str]
    steps: tuple[Step, ...]
    collects: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderResult:
    """What a FolderJob left behind: a result for each step that ran, and those files of `collects` that were there."""

    results: tuple[CommandResult, ...]
    outputs: dict[str, str] = field(default_factory=dict)
