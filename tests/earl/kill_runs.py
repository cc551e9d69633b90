"""Kills a training run at random moments and resumes it: it must end like one that nobody touched.

    python tests/earl/kill_runs.py --kills 100 [--seed N]

Every kill is a SIGKILL to the training process, after a random delay within a phase that is drawn: resuming, sampling,
judging, training, logging, checkpointing. Processes are forked from one that has imported everything and computed
nothing, so that a kill costs a fraction of a second. When a run has come to its end in spite of all, its weights,
optimiser, state, metrics (without `perf/*`), completions and verdicts are compared byte by byte with those of the run
that nobody touched, and the next one starts.
"""

import argparse
import itertools
import json
import os
import random
import select
import shutil
import signal
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from tiny import build_tiny_model, build_tiny_tokenizer
from trainer_runs import OUTCOMES, PROBLEMS
from transformers.utils import logging

from earl import checkpoint, step
from earl import train as training
from earl.config import Config, config_from_dict
from earl.engine.decode import DecodeEngine
from earl.journal import VerdictJournal, judgement_key
from earl.metrics import MetricsLog
from earl.rollout import RolloutJudge
from earl.run_folder import RunFolder
from toolchain.diagnostics import Diagnostic
from verifiers.farm_stats import FarmStats, Tally
from verifiers.judgement import Judgement
from verifiers.types import Candidate, OutputScore, Problem, Stage, Verdict

PHASES = ("resume", "sample", "judge", "train", "log", "checkpoint")
WAIT_S = 300.0  # for anything that a child does; it takes well under a second


def run_config() -> Config:
    """A run that carries on everything there is: an adaptive order, a moving reference, rounds, mini-batches, signs."""
    return config_from_dict(
        {
            "run": {"dir": "runs", "name": "run"},
            "model": {"path": "../policy", "dtype": "float32"},
            "problems": {"order": "adaptive"},
            "sampling": {"max_tokens": 12},
            "groups": {"filter": "variance", "max_rounds": 1},
            "kl": {"beta": 0.01, "reference": "ema", "params": {"decay": 0.5}},
            "log": {"signs": {"first_steps": 3, "recheck_every": 2}},
            "train": {
                "num_steps": 8,
                "num_problems": 2,
                "num_minibatches": 2,
                "group_size": 4,
                "learning_rate": 1e-3,
                "checkpoint_every": 2,
            },
        },
        origin="kill_runs",
    )


class SlowFarm:
    """A judge whose verdicts come a little later, from other threads, and depend on text and seeds alone.

    It can give no time-out. `note` hears of every job that must be run.
    """

    isolation = "rlimits"

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self._note, self._tally = note, Tally()
        self._pool = ThreadPoolExecutor(2)

    def submit(self, problem: Problem, text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        if len(seeds) == 1:  # a rollout; passes that are judged again have the evaluation seeds
            self._note("judged", judgement_key(problem, text, seeds))
        return self._pool.submit(self._judge, problem, text, seeds)

    def stats(self) -> FarmStats:
        return self._tally.fill_in(FarmStats(num_workers=2, num_queued=0, num_running=0, max_queued=1))

    def _judge(self, problem: Problem, text: str, seeds: tuple[int, ...]) -> Judgement:
        checksum = zlib.crc32(f"{text}:{seeds}".encode("utf-8", "surrogatepass"))
        time.sleep(checksum % 5 / 1000)
        output = OutputScore(name="y", num_samples=10, num_mismatches=checksum % 10, constant_fraction=0.1)
        verdict = Verdict(
            outcome=OUTCOMES[checksum % 3],
            stage=Stage.COMPARE,
            seed=seeds[0],
            outputs=(output,),
            diagnostics=(Diagnostic(message=f"found {text!r:.20}", code="test"),),
            suspect_lines=(1,),
            duration_s=time.perf_counter() % 1,
        )
        self._tally.judged(problem.problem_id, verdict)
        return Judgement(candidate=Candidate(text=text), verdict=verdict)


class Child:
    """A training process, forked. It tells of each phase that it enters, with the moment."""

    def __init__(self, folder: Path) -> None:
        self._read, write = os.pipe()
        self.seen: list[tuple[str, float]] = []
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _in_child(folder, write)
        os.close(write)
        self._rest = b""

    def wait_for(self, phase: str, number: int) -> bool:
        """True when the `number`-th such phase has begun, False when the process has ended before."""
        while sum(name == phase for name, _ in self.seen) < number:
            if not self._hear(WAIT_S):
                return False
        return True

    def _hear(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._read], [], [], timeout_s)
        if not ready:
            raise TimeoutError(f"process {self.pid} said nothing for {timeout_s:g} s; the last: {self.seen[-3:]}")
        data = os.read(self._read, 4096)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.seen += [(name, float(moment)) for name, moment in (line.decode().split() for line in lines)]
        return bool(data)

    def end(self) -> int:
        """Wait for the end. The exit code; minus the signal for a process that was killed."""
        while self._hear(WAIT_S):
            pass
        os.close(self._read)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _in_child(folder: Path, write: int) -> None:
    """Train or resume in `folder`, and end this process."""
    code = 1
    try:
        os.chdir(folder)
        _tell_phases(lambda name: os.write(write, f"{name} {time.monotonic()}\n".encode()))
        _train(os.open("judged.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _tell_phases(tell: Callable[[str], None]) -> None:
    for owner, name, phase in (
        (training, "identity_of", "resume"),
        (DecodeEngine, "generate", "sample"),
        (RolloutJudge, "__call__", "judge"),
        (step, "_update", "train"),
        (MetricsLog, "write", "log"),
        (checkpoint, "save", "checkpoint"),
    ):
        setattr(owner, name, _told(getattr(owner, name), phase, tell))


def _told(function: Callable, phase: str, tell: Callable[[str], None]) -> Callable:
    def telling(*arguments, **options):
        tell(phase)
        return function(*arguments, **options)

    return telling


def _train(notes: int) -> None:
    def note(kind: str, key: str) -> None:
        os.write(notes, f"{kind} {key}\n".encode())

    known = set(_journal_keys(Path("runs/run/verdicts.jsonl")))
    get = VerdictJournal.get

    def noting(journal: VerdictJournal, key: str) -> Judgement | None:
        found = get(journal, key)
        if found is not None and key in known:
            note("reused", key)
        return found

    VerdictJournal.get = noting
    config, is_resumed = run_config(), Path("runs/run").exists()
    run = RunFolder.open(Path("runs/run")) if is_resumed else RunFolder.create(config, default_name="x")
    training.train(config, run, PROBLEMS, SlowFarm(note), is_resumed=is_resumed)


def _journal_keys(path: Path) -> list[str]:
    """The keys of the whole lines of a journal."""
    data = path.read_bytes() if path.exists() else b""
    return [json.loads(line)["key"] for line in data[: data.rfind(b"\n") + 1].splitlines()]


def _notes(folder: Path) -> list[tuple[str, str]]:
    path = folder / "judged.log"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def make_policy(folder: Path) -> None:
    """The tiny policy, made in a process of its own: this one must stay without threads of torch."""
    pid = os.fork()
    if pid == 0:
        tokenizer = build_tiny_tokenizer()
        build_tiny_model(len(tokenizer)).save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, "the tiny policy could not be made"


def result_of(folder: Path) -> dict[str, bytes]:
    """What a run has come to, by file: all that must not depend on whether it was killed."""
    run = folder / "runs" / "run"
    saved = checkpoint.newest(run / "checkpoints")
    assert saved is not None
    parts = {f"checkpoint/{path.name}": path.read_bytes() for path in saved.folder.iterdir()}
    # Equal values are pickled to other bytes when they are other objects; trainer.json has the digest of these bytes.
    parts["checkpoint/state.pt"] = json.dumps(checkpoint.load_state(saved), default=_tensor_values).encode()
    del parts["checkpoint/trainer.json"]
    parts |= {f"completions/{path.name}": path.read_bytes() for path in (run / "completions").iterdir()}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [{name: value for name, value in row.items() if not name.startswith("perf/")} for row in rows]
    parts["metrics.jsonl without perf/*"] = "\n".join(map(json.dumps, rows)).encode()
    keys = _journal_keys(run / "verdicts.jsonl")
    assert len(set(keys)) == len(keys), "a verdict is twice in the journal"
    parts["keys of verdicts.jsonl"] = "\n".join(sorted(keys)).encode()
    return parts


def _tensor_values(tensor: torch.Tensor) -> list[Any]:
    return [str(tensor.dtype), tensor.tolist()]  # json writes floats so that they can be read back exactly


def assert_same(whole: dict[str, bytes], broken: dict[str, bytes]) -> None:
    """AssertionError that names the files that differ."""
    assert whole.keys() == broken.keys(), sorted(whole.keys() ^ broken.keys())
    others = [name for name in whole if whole[name] != broken[name]]
    assert not others, f"the killed run ended with another {', '.join(others)}"


def durations(seen: list[tuple[str, float]]) -> dict[str, float]:
    """The longest time that each phase of an unbroken run took, up to the next one."""
    longest: dict[str, float] = {}
    for (name, start), (_, stop) in itertools.pairwise(seen):
        longest[name] = max(longest.get(name, 0.0), stop - start)
    assert set(longest) >= set(PHASES[:-1]), longest
    return longest


class Killer:
    """Draws the moments, kills, and keeps the score."""

    def __init__(self, rng: random.Random, lasting: dict[str, float]) -> None:
        self._rng, self._lasting = rng, lasting
        self._drawn: list[str] = []
        self.by_phase: Counter[str] = Counter()
        self.num_reused = 0

    def attempt(self, folder: Path, *, is_spared: bool) -> bool:
        """Train or resume in `folder` and kill that process, unless it is spared. True when the run is whole."""
        known, num_notes = set(_journal_keys(folder / "runs/run/verdicts.jsonl")), len(_notes(folder))
        child = Child(folder)
        if not is_spared:
            self._drawn = self._drawn or self._rng.sample(PHASES, len(PHASES))  # all of them before one comes again
            phase, delay = self._drawn.pop(), self._rng.random()
            if child.wait_for(phase, 1 if phase == "resume" else self._rng.randint(1, 4)):
                time.sleep(delay * self._lasting.get(phase, 0.01))
                os.kill(child.pid, signal.SIGKILL)
        code = child.end()
        assert code in (0, -signal.SIGKILL), f"the training process ended with code {code}"
        if code:
            self.by_phase[child.seen[-1][0] if child.seen else "start"] += 1
        notes = _notes(folder)[num_notes:]
        again = [key for kind, key in notes if kind == "judged" and key in known]
        assert not again, f"{len(again)} verdicts of the journal were judged again"
        self.num_reused += sum(kind == "reused" for kind, _ in notes)
        return code == 0


def kill_and_compare(root: Path, *, num_kills: int, seed: int) -> Killer:
    """Kill runs in `root` so many times in all. AssertionError when one ends otherwise than the unbroken one."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    make_policy(root / "policy")
    (root / "whole").mkdir()
    started = time.monotonic()
    child = Child(root / "whole")
    assert child.end() == 0, "the unbroken run failed"
    whole = result_of(root / "whole")
    killer = Killer(random.Random(seed), durations(child.seen))
    print(f"unbroken: {len(child.seen)} phases in {time.monotonic() - started:.1f} s; seed {seed}", flush=True)
    num_runs = 0
    while (num_before := killer.by_phase.total()) < num_kills:
        num_runs += 1
        folder = root / f"killed-{num_runs}"
        folder.mkdir()
        while not killer.attempt(folder, is_spared=killer.by_phase.total() >= num_kills):
            pass
        assert_same(whole, result_of(folder))
        num_killed = killer.by_phase.total() - num_before
        print(f"run {num_runs}: killed {num_killed} times, ended as the unbroken one", flush=True)
    assert killer.num_reused, "no verdict of the journal was used again"
    phases = ", ".join(f"{phase} {killer.by_phase[phase]}" for phase in ("start", *PHASES) if killer.by_phase[phase])
    print(
        f"{killer.by_phase.total()} kills ({phases}) in {time.monotonic() - started:.0f} s; {num_runs} runs were equal"
        f" to the unbroken one; {killer.num_reused} verdicts were taken from the journal",
        flush=True,
    )
    return killer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    folder = Path(mkdtemp(prefix="earl-kills-"))
    try:
        kill_and_compare(folder, num_kills=options.kills, seed=options.seed)
    except BaseException:
        print(f"the runs are in {folder}; the same kills again: --seed {options.seed}", flush=True)
        raise
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
