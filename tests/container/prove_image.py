"""Builds the Dockerfile's target `verifier` and proves it by running it: `make container-test`.

Versions, no torch, not root; `earl verify` of a right and a wrong design; the service's health, its token and its
verdicts; and on an engine with namespaces, that the isolation inside holds. Exit code 1 at the first thing that fails.
"""

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from container_engine import IMAGE, Engine, choose_engine

ROOT = Path(__file__).resolve().parents[2]
URL = "http://127.0.0.1:8765"
_START_S = 60.0
_GOLDEN = "module TopModule (input a, input b, output y);\n  assign y = a ^ b;\nendmodule\n"
_WRONG = _GOLDEN.replace("^", "|")
_LOOK_INSIDE = """
import importlib.util, json, os
import earl.cli, verifiers.farm, verifiers.service
print(json.dumps({"uid": os.getuid(), "torch": importlib.util.find_spec("torch") is not None}))
"""


def main() -> None:
    """Build, then every proof in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=("auto", "docker", "podman", "buildah"), default="auto")
    parser.add_argument("--base", help="base image (default: the Dockerfile's, or one made by debootstrap)")
    options = parser.parse_args()
    engine = choose_engine(options.engine)
    base = options.base or ("debian:trixie-slim" if engine.program == "docker" else _made_base())
    engine.build(ROOT, base)
    with tempfile.TemporaryDirectory(prefix="earl-container-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with _container(engine) as container:
            image = _Image(engine=engine, container=container, folder=folder)
            image.write_files()
            for proof in (_prove_inside, _prove_versions, _prove_verify, _prove_isolation, _prove_service):
                print(f"ok: {proof(image)}", flush=True)


def _made_base() -> str:
    return Engine(program="buildah").make_base()


@contextmanager
def _container(engine: Engine):
    """A name for containers; buildah's is a working container, that is there before a program runs in it."""
    if engine.program != "buildah":
        yield f"earl-proof-{secrets.token_hex(4)}"
        return
    container = engine.call("from", IMAGE)
    try:
        yield container
    finally:
        engine.call("rm", container)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Image:
    """The image under proof, and a folder that its programs see as /data."""

    engine: Engine
    container: str
    folder: Path

    def write_files(self) -> None:
        """The problem, a right and a wrong design, a token."""
        self.write("problem.json", json.dumps(_problem()))
        self.write("right.v", _GOLDEN)
        self.write("wrong.v", _WRONG)
        self.write("token", secrets.token_hex(16))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o644)

    def argv(self, *argv: str) -> list[str]:
        return self.engine.run_argv(self.container, argv, [f"{self.folder}:/data:ro"])

    def run(self, *argv: str) -> subprocess.CompletedProcess:
        return subprocess.run(self.argv(*argv), capture_output=True, text=True, timeout=120, check=False)


def _problem() -> dict:
    ports = [{"name": name, "direction": "input", "width": 1} for name in "ab"]
    ports.append({"name": "y", "direction": "output", "width": 1})
    from verifiers.problem_json import problem_from_json, problem_to_json
    from verifiers.types import Port, Problem, ReferenceOracle

    problem = Problem(
        problem_id="container-xor",
        source="container-test",
        prompt="y is the XOR of a and b.",
        top_module="TopModule",
        ports=tuple(Port(**port) for port in ports),
        oracle=ReferenceOracle(golden=_GOLDEN, golden_top="TopModule"),
    )
    document = problem_to_json(problem)
    problem_from_json(document)
    return document


def _expect(is_right: bool, what: str, got: object) -> None:
    if not is_right:
        sys.exit(f"container-test failed: {what}; got {got!r}")


def _prove_inside(image: _Image) -> str:
    result = image.run("python", "-c", _LOOK_INSIDE)
    _expect(result.returncode == 0, "farm, service and command line import", result.stderr[-600:])
    found = json.loads(result.stdout.splitlines()[-1])
    _expect(found["uid"] != 0, "the user is not root", found)
    _expect(not found["torch"], "torch is not installed", found)
    return f"user {found['uid']}, no torch"


def _prove_versions(image: _Image) -> str:
    table = tomllib.loads((ROOT / "toolchain" / "versions.toml").read_text())
    expected = table["iverilog"]["container"]
    result = image.run("python", "-c", "from toolchain.tool import find_tool; print(find_tool('iverilog').version)")
    _expect(result.stdout.strip().startswith(expected), f"iverilog is {expected}", result.stdout + result.stderr)
    return f"iverilog {result.stdout.strip()}"


def _prove_verify(image: _Image) -> str:
    ends = []
    for design, code, outcome in (("right.v", 0, "passed"), ("wrong.v", 1, "mismatch")):
        argv = ("earl", "verify", "--problem", "/data/problem.json", "--candidate", f"/data/{design}", "--json")
        result = image.run(*argv)
        _expect(result.returncode == code, f"`earl verify` of {design} ends with {code}", result.stderr[-600:])
        verdict = json.loads(result.stdout)
        _expect(verdict["outcome"] == outcome, f"{design} is {outcome}", verdict)
        ends.append(f"{design} {outcome} on rung {verdict['isolation']}")
    return ", ".join(ends)


def _prove_isolation(image: _Image) -> str:
    result = image.run("earl", "doctor", "--judging", "--json")
    _expect(result.returncode == 0, "`earl doctor --judging` ends with 0", result.stdout[-2000:] + result.stderr[-600:])
    document = json.loads(result.stdout)
    broken = [name for name, state in document["isolation"].items() if state == "broken"]
    if image.engine.has_namespaces:
        _expect(not broken and document["rung"] == "bubblewrap", "the isolation inside holds", broken)
    return f"rung {document['rung']}: {len(document['isolation']) - len(broken)} attempts held, {len(broken)} not"


def _prove_service(image: _Image) -> str:
    check = _health_check(image.engine)
    argv = image.argv("earl", "serve", "--bind", "0.0.0.0:8765", "--token-file", "/data/token")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(lambda: _get("/healthz")[0] == 200, process)
            health = subprocess.run(_exec_argv(image, check), capture_output=True, text=True, timeout=60, check=False)
            _expect(health.returncode == 0, "the image's health check passes", health.stderr[-600:])
            _expect(_get("/readyz")[0] == 200, "/readyz is 200", _get("/readyz"))
            outcomes = [_verdict(image, design) for design in ("right.v", "wrong.v")]
            _expect(outcomes == ["passed", "mismatch"], "the service judges", outcomes)
            status, _ = _get("/v1/status")
            _expect(status == 401, "without a token it answers 401", status)
        finally:
            _stop(image, process)
    return "the service is healthy, ready, judges and asks for its token"


def _health_check(engine: Engine) -> list[str]:
    kind = ("inspect", "--type", "image")
    text = engine.call(*(kind if engine.program == "buildah" else ("image", "inspect")), IMAGE)
    document = json.loads(text)
    document = document[0] if isinstance(document, list) else document
    config = document["Docker"]["config"] if engine.program == "buildah" else document
    settings = config.get("Healthcheck") or config["Config"]["Healthcheck"]
    [kind_of_test, *argv] = settings["Test"]
    _expect(kind_of_test == "CMD", "the health check is an argv list", settings)
    return argv


def _exec_argv(image: _Image, argv: Sequence[str]) -> list[str]:
    if image.engine.program == "buildah":
        return image.argv(*argv)
    return [image.engine.program, *image.engine.options, "exec", image.container, *argv]


def _stop(image: _Image, process: subprocess.Popen) -> None:
    if image.engine.program == "buildah":
        process.terminate()
    else:
        image.engine.call("stop", image.container)
    process.wait(timeout=60)


def _wait_for(is_there: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + _START_S
    while not is_there():
        _expect(process.poll() is None, "the service runs", process.returncode)
        _expect(time.monotonic() < deadline, f"the service answers within {_START_S:g} s", "no answer")
        time.sleep(0.2)


def _get(path: str, body: dict | None = None, token: str | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(URL + path, data=json.dumps(body).encode() if body else None)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:  # not there yet
        return 0, b""


def _verdict(image: _Image, design: str) -> str:
    job = {"problem": _problem(), "completion": (image.folder / design).read_text(), "seeds": [1, 2]}
    status, text = _get("/v1/verdicts", {"jobs": [job]}, (image.folder / "token").read_text())
    _expect(status == 200, f"the service judges {design}", (status, text[:600]))
    return json.loads(text)["judgements"][0]["verdict"]["outcome"]


if __name__ == "__main__":
    main()
