"""A few of the kills of `make test-resume`, in the ordinary suite."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_runs_that_are_killed_end_as_the_unbroken_one(tmp_path):
    # In a process of its own: it forks, which one that has run threads of torch must not.
    arguments = [str(Path(__file__).with_name("kill_runs.py")), "--kills", "5", "--seed", "1", "--beside", "in-step"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n5 kills (" in done.stdout
    assert not list(tmp_path.iterdir())
