"""The verdicts of a run on disk, appended as they come: a killed run that is resumed judges nothing twice.

One JSON line a verdict, keyed by everything it depends on. A line cut short by a kill is cut off on reading; one that
is damaged is passed over, and judged again when it is asked for.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from verifiers.connect import Judge, judge_all
from verifiers.judgement import Judgement
from verifiers.problem_json import problem_to_json
from verifiers.types import Problem

_JUDGEMENT = TypeAdapter(Judgement)


def judgement_key(problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> str:
    """Hex digest of the whole problem, exact completion and seeds."""
    material = json.dumps([problem_to_json(problem), completion_text, seeds])
    return hashlib.sha256(material.encode("utf-8", "surrogatepass")).hexdigest()


class VerdictJournal:
    """Append-only map of judgements. Tool errors are never recorded: they are ours and may not repeat. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._known: dict[str, Judgement] = {}
        self._read_bytes: dict[Path, int] = {}  # of other journals
        self._lock = threading.Lock()
        self.num_damaged = 0  # lines that could not be read
        if path.exists():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            for line in whole.splitlines():
                self._read(line)
            if len(whole) < len(data):
                os.truncate(path, len(whole))
        self._file = path.open("a", encoding="utf-8")

    def get(self, key: str) -> Judgement | None:
        return self._known.get(key)

    def put(self, key: str, judgement: Judgement) -> None:
        """Keep a judgement, unless it is a tool error or known. One that comes after `close` is not kept."""
        if not judgement.verdict.is_scored:
            return
        with self._lock:
            if key in self._known or self._file.closed:
                return
            self._known[key] = judgement
            row = {"key": key, "judgement": _JUDGEMENT.dump_python(judgement, mode="json")}
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def read_others(self, folder: Path) -> None:
        """Learn what the other journals of a run folder have gained, whoever is writing them. Nothing is copied."""
        for path in sorted(folder.glob("verdicts*.jsonl")):
            if path.name == Path(self._file.name).name:
                continue
            with path.open("rb") as file:
                file.seek(self._read_bytes.get(path, 0))
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read_bytes[path] = self._read_bytes.get(path, 0) + len(whole)
            for line in whole.splitlines():
                self._read(line)

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def _read(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            self._known[row["key"]] = _JUDGEMENT.validate_python(row["judgement"])
        except (ValueError, KeyError, TypeError, ValidationError):  # whatever a broken disk makes of a line
            self.num_damaged += 1


class JournaledJudge:
    """A judge whose verdicts are kept: what the journal knows is not judged again. It closes neither of the two.

    A journal that cannot be written is raised at the next submission. `num_reused` counts what was not judged again.
    """

    def __init__(self, judge: Judge, journal: VerdictJournal) -> None:
        self._judge, self._journal = judge, journal
        self._error: Exception | None = None
        self.num_reused = 0

    @property
    def isolation(self) -> str:
        """See `verifiers.connect.Judge.isolation`."""
        return self._judge.isolation

    def submit(self, problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        """See `verifiers.connect.Judge.submit`."""
        if self._error is not None:
            raise self._error
        key = judgement_key(problem, completion_text, seeds)
        known = self._journal.get(key)
        if known is not None:
            self.num_reused += 1
            future: Future[Judgement] = Future()
            future.set_result(known)
            return future
        future = self._judge.submit(problem, completion_text, seeds)
        future.add_done_callback(lambda done: self._keep(key, done))
        return future

    def judge_all(
        self,
        jobs: Iterable[tuple[Problem, str, tuple[int, ...]]],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Judgement]:
        """See `verifiers.connect.Judge.judge_all`."""
        return judge_all(self, jobs, progress)

    def _keep(self, key: str, done: "Future[Judgement]") -> None:
        if done.exception() is not None:
            return  # for whoever waits for the future
        try:
            self._journal.put(key, done.result())
        except OSError as error:
            self._error = self._error or error
