"""Isolation rungs: wraps a command so that it sees little and can do little.

`bubblewrap`: no network, own pid namespace, read-only system folders, private /tmp, no home, no project; only the
command's folder is writable; it dies with its parent. `rlimits`: resource limits alone. Both set the rlimits by
`prlimit`, inside the sandbox: a wrapper costs about a millisecond, but unlike preexec_fn it is safe from threads, and
unlike a prlimit call on the started process it leaves no moment in which a child could be forked without limits.
"""

import functools
import os
import resource
import subprocess
from pathlib import Path

from toolchain.command import Command, Limits
from toolchain.errors import InfrastructureError, ToolNotFound, UsageError
from toolchain.sandbox_server import JOB_MOUNT
from toolchain.tool import find_tool

MINIMAL_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TMPDIR": "/tmp"}
RUNGS = ("bubblewrap", "rlimits")  # strongest first
_SYSTEM_FOLDERS = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
_DEVICES = (
    "--perms",
    "0755",
    "--dir",
    "/dev",
    "--dev-bind",
    "/dev/null",
    "/dev/null",
)  # a whole /dev would cost milliseconds
_TRIAL_WALL_S = 20.0


def choose_rung(isolation: str) -> str:
    """The rung for a setting: "auto" (the strongest that works here) or a rung's name, which must then work.

    "container" is never chosen by itself, and whether it works shows when `executor.open_executor` tries.

    Raises UsageError for an unknown name, InfrastructureError when the named rung does not work on this machine.
    """
    if isolation not in ("auto", "container", *RUNGS):
        raise UsageError(f"isolation is {isolation!r}; it must be auto, container, {' or '.join(RUNGS)}.")
    if isolation in ("rlimits", "container"):
        return isolation
    problem = bubblewrap_problem()
    if problem is None:
        return "bubblewrap"
    if isolation == "auto":
        return "rlimits"
    raise InfrastructureError(
        f"isolation bubblewrap does not work here: {problem}. Allow unprivileged user namespaces, or choose rlimits."
    )


@functools.cache
def bubblewrap_problem() -> str | None:
    """Why bubblewrap cannot be used on this machine, or None when a trial run worked. Asked once a process."""
    try:
        bwrap = str(find_tool("bwrap").path)
    except ToolNotFound as error:
        return str(error)
    argv = [bwrap, *_namespace_argv(), *_system_argv(), *_limit_argv(Limits(), has_own_user_namespace=True)]
    try:
        trial = subprocess.run([*argv, "/usr/bin/true"], capture_output=True, timeout=_TRIAL_WALL_S, check=False)
    except subprocess.TimeoutExpired:
        return f"a trial run did not end within {_TRIAL_WALL_S} s"
    if trial.returncode != 0:
        return f"a trial run ended with {trial.returncode}: {trial.stderr.decode(errors='replace').strip()[:200]}"
    return None


def wrap(
    command: Command,
    rung: str,
    *,
    read_only: tuple[Path, ...] = (),
    has_proc: bool = False,
    filter_fd: int | None = None,
) -> tuple[str, ...]:
    """The argv that runs `command` on `rung`. `read_only` are further folders that it may read (a tool's prefix).

    `has_proc` shows it /proc, of its own processes alone: for programs that ask who they are. `filter_fd` is a
    descriptor of `toolchain.seccomp`, passed on to bubblewrap.
    """
    assert rung in RUNGS, rung
    if rung == "rlimits":
        return (*_limit_argv(command.limits, has_own_user_namespace=False), *command.argv)
    folder = str(command.cwd.resolve())
    return (
        str(find_tool("bwrap").path),
        *_namespace_argv(),
        *_system_argv(),
        *_read_only_argv(read_only),
        *(("--proc", "/proc") if has_proc else ()),
        *(() if filter_fd is None else ("--seccomp", str(filter_fd))),
        *("--bind", folder, folder, "--chdir", folder),
        *_limit_argv(command.limits, has_own_user_namespace=True),
        *command.argv,
    )


def server_argv(*, read_only: tuple[Path, ...]) -> tuple[str, ...]:
    """The argv that `toolchain.sandbox_server`'s interpreter and its arguments are put behind.

    Nothing on disk can be written. Root keeps the right to become somebody else, and nothing more: in there it does.
    """
    if os.geteuid() == 0:
        unshare = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
        namespaces = (*unshare, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        namespaces = ("--unshare-all",)
    return (
        str(find_tool("bwrap").path),
        *(*namespaces, "--die-with-parent", "--tmpfs", "/tmp", *_DEVICES),
        *(*_system_argv(), *_read_only_argv(read_only), "--proc", "/proc", "--dir", JOB_MOUNT),
        *("--remount-ro", "/tmp", "--remount-ro", "/", "--as-pid-1"),
    )


def _read_only_argv(paths: tuple[Path, ...]) -> tuple[str, ...]:
    """Shows folders, with parents that anybody may pass through: bubblewrap makes them its own user's alone."""
    shown = [path for path in dict.fromkeys(paths) if not path.is_relative_to("/usr")]
    parents = dict.fromkeys(str(parent) for path in shown for parent in reversed(path.parents[:-1]))
    folders = (arg for parent in parents for arg in ("--perms", "0755", "--dir", parent))
    return (*folders, *(arg for path in shown for arg in ("--ro-bind", str(path), str(path))))


def _namespace_argv() -> tuple[str, ...]:
    return ("--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--tmpfs", "/tmp", *_DEVICES)


@functools.cache
def _system_argv() -> tuple[str, ...]:
    argv = [
        "--ro-bind",
        "/usr",
        "/usr",
        "--perms",
        "0755",
        "--dir",
        "/etc",
        "--ro-bind-try",
        "/etc/ld.so.cache",
        "/etc/ld.so.cache",
    ]
    for folder in _SYSTEM_FOLDERS:
        path = Path(folder)
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), folder]
        elif path.exists():
            argv += ["--ro-bind", folder, folder]
    return tuple(argv)


def _within(kind: int, bound: int) -> int:
    """The bound, or the lower one that this process lives under itself: nothing it starts can have more."""
    inherited = resource.getrlimit(kind)[1]
    return bound if inherited == resource.RLIM_INFINITY else min(bound, inherited)


def _limit_argv(limits: Limits, *, has_own_user_namespace: bool) -> tuple[str, ...]:
    """prlimit and its options. RLIMIT_NPROC counts a user's processes in a namespace: outside one it would count
    everything that the user runs, so it is set inside only. The kernel does not hold root to it."""
    argv = [
        str(find_tool("prlimit").path),
        f"--cpu={limits.cpu_s}:{limits.cpu_s + 1}",
        f"--as={_within(resource.RLIMIT_AS, limits.memory_bytes)}",
        f"--fsize={limits.file_bytes}",
        "--core=0",
    ]
    return (*argv, f"--nproc={limits.processes}") if has_own_user_namespace else tuple(argv)
