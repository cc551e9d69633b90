"""Runs each job in a container of its own, by docker or podman: the rung for those who have a runtime and trust it.

The container has no network, a read-only root, no capability, its own process ids, a tmpfs for all that is written, and
a bound on the memory and processes of everything in it together. The programs are this machine's: its /usr is shown
inside, over the image's, so that any image of a Linux with a merged /usr will do. Some tenths of a second a job.
"""

import json
import os
import secrets
import shlex
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from toolchain.command import Command, CommandResult, FolderJob, FolderResult
from toolchain.errors import InfrastructureError, UsageError
from toolchain.seccomp import filter_bytes

ENGINE_VARIABLE, IMAGE_VARIABLE = "EARL_CONTAINER_ENGINE", "EARL_CONTAINER_IMAGE"
DEFAULT_ENGINE, DEFAULT_IMAGE = "docker", "debian:trixie-slim"
_NOBODY = "65534:65534"
_PACKAGE = Path(__file__).resolve().parent
_INSIDE = "/mnt/earl"
_FOLDER_BYTES = 256 << 20  # of all that a job writes
_OWN_MEMORY_BYTES = 64 << 20  # of the first process
_START_WALL_S = 30.0
_REMOVE_WALL_S = 30.0
_START = f"import sys; sys.path.insert(0, {_INSIDE!r}); from toolchain.container_job import main; main()"


class ContainerExecutor:
    """Runs jobs in containers. `engine` is the argv of a docker-like client, `read_only` as in LocalExecutor.

    Raises InfrastructureError when a trial container does not start. Safe from several threads at once.
    """

    isolation = "container"

    def __init__(self, *, engine: tuple[str, ...], image: str, read_only: tuple[Path, ...] = ()) -> None:
        self._engine = engine
        self._image = image
        self._skeleton = tempfile.TemporaryDirectory(prefix="earl-skeleton-")
        self._shown = self._show((*read_only, Path(sys.base_prefix)))
        filter_bytes()  # raises for a machine that has no filter, before any job does
        self.run_job(FolderJob(files={}, steps=()))

    def run(self, command: Command) -> CommandResult:
        """Refused: a command's folder belongs to this machine, and a container must not write there."""
        raise InfrastructureError(f"{command.argv[0]} was to run in {command.cwd}; in a container, use run_job.")

    def run_job(self, job: FolderJob) -> FolderResult:
        """Run a job in a fresh container, which is gone afterwards. Raises InfrastructureError when it is lost."""
        name = f"earl-job-{secrets.token_hex(8)}"
        wall_s = _START_WALL_S + sum(step.limits.wall_s for step in job.steps)
        try:
            done = subprocess.run(
                self.argv(name, job), input=json.dumps(asdict(job)).encode(), capture_output=True, timeout=wall_s
            )
        except OSError as error:
            raise InfrastructureError(
                f"the container engine {self._engine[0]} could not be started: {error}. Install docker or podman, or"
                f" set {ENGINE_VARIABLE}."
            ) from error
        except subprocess.TimeoutExpired as error:  # the client is dead, the container need not be
            self._remove(name)
            raise InfrastructureError(f"a container did not end within {wall_s:g} s and was removed.") from error
        return self._result(done)

    def argv(self, name: str, job: FolderJob) -> tuple[str, ...]:
        """The argv that starts the container `name` for a job."""
        processes = max((step.limits.processes for step in job.steps), default=1)
        memory_bytes = max((step.limits.memory_bytes for step in job.steps), default=0)
        memory = str(memory_bytes + _FOLDER_BYTES + _OWN_MEMORY_BYTES)
        return (
            *(*self._engine, "run", "--rm", "--interactive", "--name", name, "--pull", "never", "--log-driver", "none"),
            *("--network", "none", "--ipc", "none", "--read-only", "--cap-drop", "ALL", "--user", _NOBODY),
            *("--security-opt", "no-new-privileges", "--pids-limit", str(processes + 1)),
            *("--memory", memory, "--memory-swap", memory, "--ulimit", "core=0:0", "--ulimit", "nofile=1024:1024"),
            # Some engines put a folder that can be written there, read-only root or not.
            *("--tmpfs", "/var/tmp:ro,size=4k,mode=755"),
            *("--ulimit", "nproc=1000:1000", "--tmpfs", f"/tmp:rw,nosuid,nodev,exec,size={_FOLDER_BYTES},mode=1777"),
            *(part for source, target in self._shown.items() for part in ("--volume", f"{source}:{target}:ro")),
            *("--workdir", "/tmp"),
            *("--entrypoint", _python(), self._image, "-I", "-S", "-B", "-c", _START),
        )

    def close(self) -> None:
        """Remove what the executor made on this machine. Idempotent."""
        self._skeleton.cleanup()

    def _show(self, read_only: tuple[Path, ...]) -> dict[Path, Path]:
        """What is shown where: folders at their own place, below parents that anybody may pass through.

        Those parents are empty folders made here: the image's own /root, say, is for root alone.
        """
        skeleton = Path(self._skeleton.name)
        shown = {Path("/usr"): Path("/usr")}
        for path in read_only:
            if not path.is_relative_to("/usr"):
                root = path.parts[1]
                (skeleton / path.relative_to("/")).mkdir(parents=True, exist_ok=True)
                shown[skeleton / root] = Path("/", root)
                shown[path] = path
        for folder in (skeleton, *skeleton.rglob("*")):
            folder.chmod(0o755)
        return {**shown, _PACKAGE: Path(_INSIDE, "toolchain")}

    def _result(self, done: subprocess.CompletedProcess) -> FolderResult:
        try:
            document = json.loads(done.stdout)
            results = tuple(CommandResult(**result) for result in document["results"])
            return FolderResult(results=results, outputs=document["outputs"])
        except (ValueError, KeyError, TypeError) as error:
            said = done.stderr.decode(errors="replace").strip()[-400:]
            raise InfrastructureError(
                f"a container of {self._image} gave no result ({error}); {self._engine[0]} ended with"
                f" {done.returncode}: {said or 'it said nothing'}. {IMAGE_VARIABLE} must name a local image of a Linux"
                " with a merged /usr."
            ) from error

    def _remove(self, name: str) -> None:
        """By SIGKILL to all in it. One that ends by itself is removed by its engine."""
        argv = [*self._engine, "rm", "--force", name]
        try:
            subprocess.run(argv, capture_output=True, timeout=_REMOVE_WALL_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise InfrastructureError(
                f"the container {name} did not end and could not be removed; do it by {shlex.join(argv)}."
            ) from error


def container_executor(*, read_only: tuple[Path, ...] = ()) -> ContainerExecutor:
    """The executor that the environment names: EARL_CONTAINER_ENGINE (an argv, such as "podman --runtime runc"; docker
    by default) and EARL_CONTAINER_IMAGE.
    """
    engine = tuple(shlex.split(os.environ.get(ENGINE_VARIABLE, DEFAULT_ENGINE)))
    if not engine:
        raise UsageError(f"{ENGINE_VARIABLE} is empty; name a program such as docker or podman.")
    return ContainerExecutor(engine=engine, image=os.environ.get(IMAGE_VARIABLE, DEFAULT_IMAGE), read_only=read_only)


def _python() -> str:
    return str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))
