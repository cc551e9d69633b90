"""The Dockerfile says what versions.toml and pyproject.toml say. That it builds and works: `make container-test`."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
TOOLS = tomllib.loads((ROOT / "toolchain" / "versions.toml").read_text())
PINS = dict(re.findall(r"^ +([a-z0-9-]+)=(\S+) \\$", DOCKERFILE, re.MULTILINE))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


@pytest.mark.parametrize("name", [name for name, entry in TOOLS.items() if "container" in entry])
def test_the_image_installs_the_version_that_the_table_names(name):
    entry = TOOLS[name]
    pin = PINS[entry["apt_package"]]
    assert re.fullmatch(rf"{re.escape(entry['container'])}[-.]\*", pin), pin
    assert numbers(entry["container"]) >= numbers(entry["minimum"])


def test_no_pin_of_the_image_is_missing_from_the_table():
    named = {entry["apt_package"] for entry in TOOLS.values() if "container" in entry}
    assert set(PINS) == named
    assert "iverilog" in named


def test_the_image_runs_a_simulator_that_the_suite_has_run_with():
    assert TOOLS["iverilog"]["container"] in TOOLS["iverilog"]["tested"]
    assert TOOLS["vvp"]["container"] in TOOLS["vvp"]["tested"]


def test_the_image_asks_pip_for_what_the_project_asks_for_and_for_no_trainer():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = {*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)}
    asked = set(re.findall(r'^ +"(\S+)"(?: \\)?$', DOCKERFILE, re.MULTILINE))
    assert asked <= known, asked - known
    assert {line for line in project["optional-dependencies"]["service"]} <= asked
    assert not any(re.match(r"torch|transformers", line) for line in asked)


def test_the_image_is_not_root_checks_its_health_and_is_the_first_target():
    assert re.search(r"^FROM \S+ AS (\w+)", DOCKERFILE, re.MULTILINE).group(1) == "verifier"
    assert re.findall(r"^USER (\w+)", DOCKERFILE, re.MULTILINE) == ["earl"]
    assert re.search(r"^HEALTHCHECK .*/healthz", DOCKERFILE, re.MULTILINE)
    assert "setup.py" not in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE)[0]


def test_the_build_sees_exactly_what_the_dockerfile_copies():
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert "*" in lines
