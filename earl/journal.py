"""The verdicts of a run on disk, appended as they come: a killed run that is resumed judges nothing twice.

One JSON line a verdict, keyed by everything it depends on. A line cut short by a kill is cut off on reading.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path

from pydantic import TypeAdapter

from verifiers.connect import Judge, judge_all
from verifiers.judgement import Judgement
from verifiers.problem_json import problem_to_json
from verifiers.types import Problem

_JUDGEMENT = TypeAdapter(Judgement)


def judgement_key(problem: Problem, completion_text: str, seed: int | tuple[int, ...]) -> str:
    """Hex digest of the whole problem, exact completion and seed or seeds."""
    material = json.dumps([problem_to_json(problem), completion_text, seed])
    return hashlib.sha256(material.encode("utf-8", "surrogatepass")).hexdigest()


class VerdictJournal:
    """Append-only map of judgements. Tool errors are never recorded: they are ours and may not repeat."""

    def __init__(self, path: Path) -> None:
        self._known: dict[str, Judgement] = {}
        if path.exists():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            for line in whole.decode("utf-8").splitlines():
                row = json.loads(line)
                self._known[row["key"]] = _JUDGEMENT.validate_python(row["judgement"])
            if len(whole) < len(data):
                os.truncate(path, len(whole))
        self._file = path.open("a", encoding="utf-8")

    def get(self, key: str) -> Judgement | None:
        return self._known.get(key)

    def put(self, key: str, judgement: Judgement) -> None:
        if key in self._known or not judgement.verdict.is_scored:
            return
        self._known[key] = judgement
        row = {"key": key, "judgement": _JUDGEMENT.dump_python(judgement, mode="json")}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class JournaledJudge:
    """A judge whose verdicts are kept: what the journal knows is not judged again. It closes neither of the two.

    A journal that cannot be written is raised at the next submission.
    """

    def __init__(self, judge: Judge, journal: VerdictJournal) -> None:
        self._judge, self._journal = judge, journal
        self._lock = threading.Lock()
        self._error: Exception | None = None

    @property
    def isolation(self) -> str:
        """See `verifiers.connect.Judge.isolation`."""
        return self._judge.isolation

    def submit(self, problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        """See `verifiers.connect.Judge.submit`."""
        key = judgement_key(problem, completion_text, seeds)
        with self._lock:
            if self._error is not None:
                raise self._error
            known = self._journal.get(key)
        if known is not None:
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
        with self._lock:
            try:
                self._journal.put(key, done.result())
            except OSError as error:
                self._error = self._error or error
