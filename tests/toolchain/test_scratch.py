"""Temporary folders: kept while their owner lives, removed by whoever comes next when it was killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolchain import scratch
from toolchain.scratch import Scratch, sweep

_OWNER = "from toolchain.scratch import Scratch; print(Scratch('test').path, flush=True); input()"
_OLD = 1_000_000_000


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    scratch._sweep_once.cache_clear()
    return tmp_path


def _owner(root):
    environment = os.environ | {"TMPDIR": str(root)}
    argv = [sys.executable, "-c", _OWNER]
    owner = subprocess.Popen(
        argv, cwd=Path(__file__).parents[2], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return owner, Path(owner.stdout.readline().strip())


def test_a_killed_owners_folder_goes_with_the_next_one_and_a_living_ones_stays(root):
    with _owner(root)[0] as dead:
        dead.kill()
    (left,) = root.iterdir()
    left.joinpath("deep").mkdir()
    left.joinpath("deep", "file").write_text("x")
    with _owner(root)[0] as alive:
        (kept,) = set(root.iterdir()) - {left}
        for folder in (left, kept):
            os.utime(folder, (_OLD, _OLD))
        mine = Scratch("test")
        assert set(root.iterdir()) == {kept, mine.path}
        alive.kill()
    mine.remove()
    mine.remove()
    assert sweep(root) == [kept]
    assert not list(root.iterdir())


def test_a_young_folder_and_what_is_not_ours_are_left_alone(root):
    young, other = root / "earl-scratch-new", root / "earl-other"
    elsewhere, link = root / "elsewhere", root / "earl-scratch-link"
    for folder in (young, other, elsewhere):
        folder.mkdir()
    link.symlink_to(elsewhere)
    os.utime(other, (_OLD, _OLD))
    assert sweep(root) == []
    assert sweep(root, young_s=-(time.time() + 1)) == [young]
    assert link.is_symlink()
    assert elsewhere.is_dir()
