"""Kills training runs at random moments and resumes them: they must end like those that nobody touched.

    python tests/earl/kill_runs.py --kills 100 [--seed N]

Every kill is a SIGKILL, after a random delay within a phase that is drawn. Most are to trainers that sample by
themselves; the others to trainers with rollout workers, in step and behind, or to one of these workers, and to trainers
and workers whose designs are simulated by the real farm. Processes are forked from ones that have imported everything
and computed nothing, so that a kill costs a fraction of a second. When a run has come to its end in spite of all, its
weights, optimiser, state, metrics (without those of the machine), completions and verdicts are compared byte by byte
with those of the run that nobody touched, and the next one starts. No process and no temporary folder may be left of
those that were killed.
"""

import argparse
import ctypes
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from multiprocessing import forkserver, util
from pathlib import Path

import torch
from kill_child import NOTES, RUN, Child
from kill_kinds import KINDS, Kind, run_config, share_out
from kill_results import assert_kept, assert_same, durations, journal_keys, result_of
from tiny import build_tiny_model, build_tiny_tokenizer
from transformers.utils import logging

from toolchain.scratch import sweep

_PR_SET_CHILD_SUBREAPER = 36
_QUIET_S = 60.0  # for what a killed process has started to end; it takes a second


def make_policy(folder: Path) -> None:
    """The tiny policy, made in a process of its own: this one must stay without threads of torch."""
    pid = os.fork()
    if pid == 0:
        tokenizer = build_tiny_tokenizer()
        build_tiny_model(len(tokenizer)).save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, "the tiny policy could not be made"


def start_fork_server(scratch: Path) -> int:
    """The process that rollout workers are forked from: one for all trainers, which by itself each would start."""
    util.get_temp_dir()  # for its socket: it must not lie where all that is left counts
    tempfile.tempdir = os.environ["TMPDIR"] = str(scratch)  # of whatever is forked from here on
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    forkserver.set_forkserver_preload(["kill_child"])
    forkserver.ensure_running()
    return forkserver._forkserver._forkserver_pid


def children_of(pid: int) -> list[int]:
    """Processes that a process has started or inherited, dead ones left out."""
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in task.joinpath("children").read_text().split()]
    return [child for child in found if _is_running(child)]


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Killer:
    """Draws the moments and the victims, kills, and keeps the score."""

    def __init__(self, rng: random.Random, server: int, scratch: Path) -> None:
        self._rng, self._server, self._scratch = rng, server, scratch
        self._own = {server, *children_of(os.getpid())}
        self._drawn: list[str] = []
        self.by_victim: Counter[str] = Counter()
        self.num_reused = 0

    def attempt(self, folder: Path, kind: Kind, lasting: dict[str, float], num_left: int) -> bool:
        """Train or resume in `folder` and kill processes of it, up to `num_left`. True when the run is whole."""
        known, num_notes = set(journal_keys(folder / RUN)), len(_notes(folder))
        child = Child(folder, run_config(kind))
        is_for_a_worker = num_left > 0 and kind.has_workers and self._rng.random() < 0.5
        if is_for_a_worker and self._await_moment(child, kind, lasting) and self._kill_worker():
            num_left -= 1
        if num_left and self._await_moment(child, kind, lasting):
            os.kill(child.pid, signal.SIGKILL)
        code = child.end()
        assert code in (0, -signal.SIGKILL), f"the training process ended with code {code}"
        if code:
            self.by_victim[child.seen[-1][0] if child.seen else "start"] += 1
        if not code or self._rng.random() < 0.5:  # else the next trainer finds what is still ending
            self.assert_nothing_is_left()
        notes = _notes(folder)[num_notes:]
        again = [key for name, key in notes if name == "judged" and key in known]
        assert not again, f"{len(again)} verdicts of the journals were judged again"
        self.num_reused += sum(name == "reused" and key in known for name, key in notes)
        return code == 0

    def _await_moment(self, child: Child, kind: Kind, lasting: dict[str, float]) -> bool:
        """Wait for a moment within a phase; False when the process has ended before."""
        # All phases before one comes again.
        self._drawn = [phase for phase in self._drawn if phase in kind.phases] or self._rng.sample(
            kind.phases, len(kind.phases)
        )
        phase, delay = self._drawn.pop(), self._rng.random()
        seen = sum(name == phase for name, _ in child.seen)
        if not child.wait_for(phase, 1 if phase == "resume" else seen + self._rng.randint(1, 4)):
            return False
        time.sleep(delay * lasting.get(phase, 0.01))
        return True

    def _kill_worker(self) -> bool:
        """Whether there was one to kill: the trainer must go on without it, and start another."""
        workers = children_of(self._server)
        if not workers:
            return False
        with suppress(ProcessLookupError):
            os.kill(self._rng.choice(workers), signal.SIGKILL)
            self.by_victim["worker"] += 1
        return True

    def assert_nothing_is_left(self) -> None:
        """Wait for what the dead have started to end; remove what a next run would. Nothing else may be there."""
        deadline = time.monotonic() + _QUIET_S
        while left := [*set(children_of(os.getpid())) - self._own, *children_of(self._server)]:
            lines = [Path(f"/proc/{pid}/cmdline").read_bytes()[-200:] for pid in left if _is_running(pid)]
            assert time.monotonic() < deadline, f"processes outlive a killed run: {lines}"
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.005)
        sweep(self._scratch, young_s=-1.0)
        names = sorted(path.name for path in self._scratch.iterdir())
        assert not names, f"temporary files outlive a killed run: {names}"


def _notes(folder: Path) -> list[tuple[str, str]]:
    path = folder / NOTES
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def run_whole(root: Path, kind: Kind, killer: Killer) -> tuple[Path, dict[str, float]]:
    """A run that nobody touches: its folder, and the longest time that each phase took."""
    folder = root / f"whole-{kind.name}"
    folder.mkdir()
    child = Child(folder, run_config(kind))
    assert child.end() == 0, f"the unbroken run {kind.name} failed"
    killer.assert_nothing_is_left()
    return folder, durations(child.seen)


def kill_and_compare(root: Path, kind: Kind, killer: Killer, num_kills: int, alone: Path | None) -> Path:
    """Kill runs of a kind so many times in all; returns the folder of the unbroken one.

    AssertionError when one ends otherwise, or when the kind promises what the run `alone` is and is not that.
    """
    started, before = time.monotonic(), killer.by_victim.total()
    whole, lasting = run_whole(root, kind, killer)
    if alone is not None and kind.is_as_alone:
        assert_same(result_of(alone, is_alike=True), result_of(whole, is_alike=True), f"{kind.name}, unbroken")
    num_runs = 0
    while (num_left := num_kills - (killer.by_victim.total() - before)) > 0:
        num_runs += 1
        folder = root / f"killed-{kind.name}-{num_runs}"
        folder.mkdir()
        while not killer.attempt(folder, kind, lasting, max(0, num_left)):
            num_left = num_kills - (killer.by_victim.total() - before)
        if kind.is_repeatable:
            assert_same(result_of(whole), result_of(folder), f"{kind.name}, killed")
        assert_kept(folder, kind)
    as_what = "equal to the unbroken one" if kind.is_repeatable else "whole"
    print(
        f"{kind.name}: {killer.by_victim.total() - before} kills, {num_runs} runs {as_what},"
        f" {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return whole


def kill_all(root: Path, kinds: tuple[Kind, ...], *, num_kills: int, seed: int) -> None:
    """Kill runs of these kinds, the first of which samples alone. AssertionError when anything is not as promised."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    started, scratch = time.monotonic(), root / "tmp"
    scratch.mkdir()
    make_policy(root / "policy")
    # What a killed process has started becomes our child, and so cannot escape the count.
    assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    killer = Killer(random.Random(seed), start_fork_server(scratch), scratch)
    print(f"seed {seed}", flush=True)
    alone = None
    for kind, share in zip(kinds, share_out(kinds, num_kills), strict=True):
        whole = kill_and_compare(root, kind, killer, share, alone)
        alone = alone or whole
    phases = ", ".join(f"{name} {number}" for name, number in sorted(killer.by_victim.items()))
    print(
        f"{killer.by_victim.total()} kills ({phases}) in {time.monotonic() - started:.0f} s;"
        f" {killer.num_reused} verdicts were taken from the journals; no process or temporary file was left",
        flush=True,
    )
    assert killer.num_reused or num_kills < 20, "no verdict of a journal was used again"
    forkserver._forkserver._stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    others = [kind.name for kind in KINDS[1:]]
    parser.add_argument("--beside", choices=others, action="append", help="kinds beside the first; default: all")
    options = parser.parse_args()
    kinds = (KINDS[0], *(kind for kind in KINDS[1:] if kind.name in (options.beside or others)))
    folder = Path(tempfile.mkdtemp(prefix="earl-kills-"))
    try:
        kill_all(folder, kinds, num_kills=options.kills, seed=options.seed)
    except BaseException:
        print(f"the runs are in {folder}; the same kills again: --seed {options.seed}", flush=True)
        raise
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
