"""Who judges: this machine's farm, a service or a Ray cluster, by one address. They differ in nothing else."""

import importlib.util
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from toolchain.errors import UsageError
from verifiers.farm_stats import FarmStats
from verifiers.judgement import Judgement
from verifiers.types import Problem

ADDRESSES = "local, http(s)://HOST:PORT, ray, ray://HOST:PORT or auto"
_MIN_TOKEN_LENGTH = 16


class Judge(Protocol):
    """Anything that judges completions: `verifiers.farm.Farm`, `ServiceClient`, `RayFarm`."""

    @property
    def isolation(self) -> str:
        """The rung that candidates run on."""
        ...

    def submit(self, problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        """Queue a completion. Equal jobs under way share one future: do not cancel it."""
        ...

    def judge_all(
        self,
        jobs: Iterable[tuple[Problem, str, tuple[int, ...]]],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Judgement]:
        """Judge all of (problem, completion text, seeds), in order. `progress(num_done, num_jobs)` is told of each."""
        ...

    def stats(self) -> FarmStats:
        """How it stands, and what it has done so far. A service's is that of all its clients."""
        ...

    def close(self) -> None:
        """Jobs not yet judged fail with InfrastructureError. Idempotent."""
        ...

    def __enter__(self) -> "Judge": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def judge_all(
    judge: Judge,
    jobs: Iterable[tuple[Problem, str, tuple[int, ...]]],
    progress: Callable[[int, int], None] | None,
) -> list[Judgement]:
    """`Judge.judge_all` by way of `submit`; progress is told while jobs are still being queued, too."""
    jobs = list(jobs)
    futures: list[Future[Judgement]] = []
    num_done = 0
    while num_done < len(jobs):
        if len(futures) < len(jobs):
            futures.append(judge.submit(*jobs[len(futures)]))
        else:
            futures[num_done].exception()  # all are under way: wait for the next
        while num_done < len(futures) and futures[num_done].done():
            num_done += 1
            if progress is not None:
                progress(num_done, len(jobs))
    return [future.result() for future in futures]


@dataclass(frozen=True, kw_only=True, slots=True)
class FarmSettings:
    """What a farm is opened with, here or in a cluster. `num_workers` counts all its workers."""

    num_workers: int = 2
    isolation: str = "auto"
    cache: str = ""  # path of the file where verdicts are kept; empty: none


def connect(address: str, settings: FarmSettings, *, token_file: Path | None = None) -> Judge:
    """The judge at an address. `settings` are for a farm of ours; a service has its own.

    `auto` is a running Ray cluster if there is one, else this machine. `token_file` holds a service's token.
    Raises UsageError for an address of another form, InfrastructureError when nobody answers there.
    """
    if address.startswith(("http://", "https://")):
        _require("httpx", "service")
        from verifiers.client import ServiceClient

        return ServiceClient(address, token=read_token(token_file) if token_file else None)
    if address == "ray" or address.startswith("ray://"):
        _require("ray" if address == "ray" else "grpc", "ray")
        from verifiers.ray_farm import RayFarm

        return RayFarm(address, settings)
    if address == "auto" and importlib.util.find_spec("ray") is not None:
        from verifiers.ray_farm import NoCluster, RayFarm

        with suppress(NoCluster):
            return RayFarm("auto", settings)
    if address in ("auto", "local"):
        from verifiers.farm import Farm

        cache = Path(settings.cache) if settings.cache else None
        return Farm(num_workers=settings.num_workers, isolation=settings.isolation, cache=cache)
    raise UsageError(f"the verifier's address is {address!r}; it must be {ADDRESSES}.")


def _require(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UsageError(f"this verifier's address needs the package {module}; pip install 'earl-rtl[{extra}]'")


def read_token(path: Path) -> str:
    """The token in a file, without the white space around it. UsageError when there is none worth the name."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise UsageError(f"cannot read the token file {path}: {error.strerror}; write a token into it") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the token in {path} is not plain ASCII; make one with `openssl rand -hex 32`") from error
    if len(token) < _MIN_TOKEN_LENGTH or not token.isprintable() or " " in token:
        raise UsageError(
            f"the token in {path} must be one word of {_MIN_TOKEN_LENGTH} characters or more;"
            " make one with `openssl rand -hex 32`"
        )
    return token
