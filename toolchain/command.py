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
