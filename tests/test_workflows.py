"""The workflow files: YAML that parses, actions pinned by major version, and commands that exist with these options."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from earl.cli import cli

FOLDER = Path(__file__).parents[1] / ".github" / "workflows"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
STEPS = [step for workflow in WORKFLOWS.values() for job in workflow["jobs"].values() for step in job["steps"]]


def test_every_workflow_says_when_it_runs_and_what_it_may_do():
    assert {"ci.yml", "pass-rate.yml"} <= {*WORKFLOWS}
    for name, workflow in WORKFLOWS.items():
        assert True in workflow, f"{name} has no `on`"  # YAML 1.1 reads the key `on` as true
        assert workflow["permissions"]["contents"] == "read"
        assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def test_actions_are_pinned_by_major_version():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[\w/-]+@v\d+", name) for name in used)


@pytest.mark.parametrize("command", ["compare", "report"])
def test_commands_of_the_nightly_run_take_these_options(command):
    texts = [step["run"].replace("\\\n", " ") for step in STEPS if f"earl {command} " in step.get("run", "")]
    assert texts
    for line in (line for text in texts for line in text.splitlines() if f"earl {command} " in line):
        options = [word.partition("=")[0] for word in shlex.split(line) if word.startswith("--")]
        help_text = CliRunner().invoke(cli, [command, "--help"]).stdout
        assert all(option in help_text for option in options), line
