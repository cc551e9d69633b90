"""May a run be resumed with this config and these problems? A change is refused and shown, unless it is forced.

What a run was started with is its identity: the resolved config, a digest of every problem (of supervised training:
example) and of the model that training starts from. It lies in every checkpoint, and in the run folder for a run that
was killed before its first one.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from earl import checkpoint
from earl.config import Config
from earl.model_source import ADAPTER_CONFIG, base_of, is_adapter, resolve_model
from earl.run_folder import RunFolder, package_versions
from toolchain.errors import UsageError
from verifiers.problem_json import problem_to_json
from verifiers.types import Problem

# Keys that may change when a run is resumed: none of them changes what a step of training computes.
HARMLESS = (
    "run.name",
    "run.dir",
    "model.path",  # a moved folder: what is in it has a digest
    "rollout.is_local",
    "train.num_steps",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "sft.checkpoint_every",
    "log.*",  # who listens
    "verifier.*",  # who judges, with how many workers, and how long it is waited for
    "eval.*",
)
# Keys that a checkpoint's weights and its optimiser's state are made by.
FIXED = ("lora.*", "optimizer.name")
_SAMPLE_BYTES = 1 << 20  # of each file of weights: training changes all of them everywhere
_NUM_SHOWN = 3


Digests = list[list[str]]  # name and hex digest of each problem or example


def problem_digests(problems: Iterable[Problem]) -> Digests:
    """What `identity_of` wants of problems."""
    return [[problem.problem_id, _problem_digest(problem)] for problem in problems]


def identity_of(config: Config, digests: Digests) -> dict[str, Any]:
    """What a run is started with, as JSON-able data."""
    return {
        "config": config.model_dump(mode="json"),
        "problems": digests,
        "dataset_sha256": hashlib.sha256(json.dumps(digests).encode()).hexdigest(),
        "model_sha256": _model_digest(config.model.path),
    }


def keep_identity(run: RunFolder, identity: dict[str, Any]) -> None:
    """Write the part that config.toml does not say into the run folder, as data.json."""
    run.write_json("data.json", {name: value for name, value in identity.items() if name != "config"})


def reopen(path: Path, config: Config, digests: Digests, *, is_forced: bool, tell: Callable[[str], None]) -> RunFolder:
    """The run in `path` to continue; `path` may also be one of its checkpoints, to go back to. `tell` gets warnings.

    Raises:
        UsageError: `path` is no run; or config, problems or model are others than it had, and it is not forced; or what
            the checkpoint is made by has changed.
        InfrastructureError: the checkpoint is damaged.
    """
    chosen = checkpoint.at(path)
    run = RunFolder.open(path.parent.parent if chosen else path)
    saved = chosen or checkpoint.newest(run.checkpoints)
    identity = identity_of(config, digests)
    changed = differences(_saved_identity(run, saved), identity)
    fixed = [line for line in changed if saved and _matches(line.partition(":")[0], FIXED)]
    if fixed or (changed and not is_forced):
        remedy = "give what it had, start a new run, or take the change with --force-resume"
        if fixed:
            remedy = (
                "its weights and its optimiser's state are made for what it had; start a new run from it:"
                f" model.path={saved.folder}"
            )
        lines = "".join(f"\n  {line}" for line in fixed or changed)
        raise UsageError(f"cannot resume {path}: it was started with something else:{lines}\n{remedy}")
    for line in changed:
        tell(f"resumed with a change: {line}")
    for line in _changed_versions(run):
        tell(f"resumed with another version, the last bits may differ: {line}")
    if chosen:
        for left in checkpoint.go_back_to(chosen):
            tell(f"going back to step {chosen.step}; {left.name} is what was newer, remove it when it is not needed")
    run.write_config(config)
    keep_identity(run, identity)
    return run


def differences(saved: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """What differs, a line each: `key: saved -> given`. Parts that `saved` does not have are not compared."""
    before, now = _flat(saved["config"]), _flat(given["config"])
    lines = [
        f"{key}: {before.get(key, 'none')!r} -> {now.get(key, 'none')!r}"
        for key in sorted(before | now)
        if before.get(key) != now.get(key) and not _is_harmless(key, now)
    ]
    if "problems" in saved:
        lines += _problem_differences(dict(saved["problems"]), dict(given["problems"]))
        if not lines and saved["problems"] != given["problems"]:
            lines.append("problems: the same in another order")
    if saved.get("model_sha256", given["model_sha256"]) != given["model_sha256"]:
        lines.append(f"the model at model.path = {given['config']['model']['path']!r} has other weights than it had")
    return lines


def _is_harmless(key: str, config: dict[str, Any]) -> bool:
    # A learning rate that falls towards the run's end depends on where that is.
    if key == "train.num_steps" and config.get("optimizer.schedule", "constant") != "constant":
        return False
    return _matches(key, HARMLESS)


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(key, pattern) for pattern in patterns)


def _saved_identity(run: RunFolder, saved: checkpoint.Checkpoint | None) -> dict[str, Any]:
    state = checkpoint.load_state(saved) if saved else {}
    if "identity" in state:
        return state["identity"]
    data = run.path / "data.json"
    identity = {"config": run.config().model_dump(mode="json")}
    return identity | (json.loads(data.read_text(encoding="utf-8")) if data.is_file() else {})


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _problem_differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    kinds = {
        "added": [name for name in now if name not in before],
        "removed": [name for name in before if name not in now],
        "changed": [name for name in now if name in before and before[name] != now[name]],
    }
    return [
        f"problems: {len(names)} {kind} ({', '.join(names[:_NUM_SHOWN])}{', ...' if len(names) > _NUM_SHOWN else ''})"
        for kind, names in kinds.items()
        if names
    ]


def _changed_versions(run: RunFolder) -> list[str]:
    path = run.path / "versions.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    now = package_versions()
    return [f"{name}: {before[name]} -> {now[name]}" for name in now if name in before and before[name] != now[name]]


def _problem_digest(problem: Problem) -> str:
    document = json.dumps(problem_to_json(problem), sort_keys=True)
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _model_digest(path: str) -> str:
    """Of a model folder's config, and of size and middle of its weights; of the name alone for a model of the hub.

    An adapter's is of its own files and of its base's.
    """
    source = Path(resolve_model(path))
    if not source.is_dir():
        return hashlib.sha256(str(source).encode()).hexdigest()
    adapted = is_adapter(str(source))
    digest = hashlib.sha256((source / (ADAPTER_CONFIG if adapted else "config.json")).read_bytes())
    if adapted:
        digest.update(_model_digest(base_of(str(source))).encode())
    for file in sorted((*source.glob("*.safetensors"), *source.glob("pytorch_model*.bin"))):
        num_bytes = file.stat().st_size
        digest.update(f"{file.name}:{num_bytes}".encode())
        with file.open("rb") as weights:
            weights.seek(max(0, (num_bytes - _SAMPLE_BYTES) // 2))
            digest.update(weights.read(_SAMPLE_BYTES))
    return digest.hexdigest()
