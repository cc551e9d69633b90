"""cocotb: where it is installed, what its environment must be, and what its results file says. Runs nothing.

The simulator is called directly, with cocotb's library and environment, not through cocotb's runner: that starts a
quarter of a second sooner. What a test printed is never read, only the JUnit file, and that as a stranger's text.
"""

import functools
import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from xml.etree import ElementTree

from toolchain.errors import InfrastructureError, ToolNotFound

MAX_RESULTS_CHARS = 4 << 20
_MINIMUM_MAJOR = 2
_MESSAGE_SHOWN = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class CocotbInstall:
    """An installed cocotb and the Python that it runs in."""

    version: str
    package: Path  # the folder of the package `cocotb`
    python: Path
    libpython: Path
    simulator_module: Path  # the native module that cocotb starts from

    @property
    def read_only(self) -> tuple[Path, ...]:
        """The folders that a sandbox must show: the environment with cocotb, and the Python under it."""
        return tuple(dict.fromkeys((Path(sys.prefix), Path(sys.base_prefix), self.libpython.parent)))

    def library(self, simulator: str) -> Path:
        """The library that `simulator` ("icarus" or "verilator") loads."""
        return self.package / "libs" / f"libcocotbvpi_{simulator}.so"

    @property
    def verilator_main(self) -> Path:
        """The C++ file with the main function of a Verilator simulation."""
        return self.package / "share" / "lib" / "verilator" / "verilator.cpp"


@functools.cache
def find_cocotb() -> CocotbInstall:
    """The cocotb of this Python's environment. Raises ToolNotFound, or InfrastructureError for one before 2.0."""
    spec = importlib.util.find_spec("cocotb")
    if spec is None or spec.origin is None:
        raise ToolNotFound(
            "cocotb was not found in this Python's environment. Install it: pip install 'earl-rtl[cocotb]'."
        )
    version = importlib.metadata.version("cocotb")
    if int(version.split(".")[0]) < _MINIMUM_MAJOR:
        raise InfrastructureError(f"cocotb {version} is too old: 2.0 or newer is needed. pip install -U cocotb.")
    from find_libpython import find_libpython  # comes with cocotb

    package = Path(spec.origin).parent
    simulator = PathFinder.find_spec("simulator", [str(package)])
    libpython = find_libpython()
    if simulator is None or simulator.origin is None or libpython is None:
        what = "its native module" if libpython else "a shared libpython (build Python with --enable-shared)"
        raise InfrastructureError(f"cocotb {version} at {package} cannot run: {what} was not found.")
    return CocotbInstall(
        version=version,
        package=package,
        python=Path(sys.executable),
        libpython=Path(libpython),
        simulator_module=Path(simulator.origin),
    )


def environment(
    install: CocotbInstall, *, top: str, test_module: str, results_file: str, seed: int, log_level: str = "ERROR"
) -> dict[str, str]:
    """What a simulation that loads cocotb needs in its environment. Test modules are found in its folder."""
    return {
        "PYGPI_PYTHON_BIN": str(install.python),
        "GPI_USERS": f"{install.libpython};{install.simulator_module},initialize",
        "COCOTB_TOPLEVEL": top,
        "TOPLEVEL_LANG": "verilog",
        "COCOTB_TEST_MODULES": test_module,
        "COCOTB_RESULTS_FILE": results_file,
        "COCOTB_RANDOM_SEED": str(seed % (1 << 31)),
        "COCOTB_LOG_LEVEL": log_level,
        "COCOTB_REWRITE_ASSERTION_FILES": "",  # rewriting assertions costs half a second
        "PYTHONPATH": ".",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }


def simulate_argv(vvp: str, install: CocotbInstall, *, image: str) -> tuple[str, ...]:
    """The argv that runs a compiled Icarus image with cocotb in it."""
    return (vvp, "-n", "-m", str(install.library("icarus")), image, "-none")


@dataclass(frozen=True, kw_only=True, slots=True)
class TestResult:
    """One test of a results file. `status` is "passed", "failed", "error" or "skipped"."""

    __test__ = False  # for pytest: not a test class

    name: str  # module.test
    status: str
    message: str = ""


def read_results(text: str) -> tuple[TestResult, ...] | str:
    """The tests of a results file in its order, or why the text is not one. Expands no entities, whatever it holds."""
    if len(text) > MAX_RESULTS_CHARS:
        return f"it has {len(text):,} characters, more than {MAX_RESULTS_CHARS:,}"
    if "<!" in text:
        return "it declares a document type, which cocotb does not"
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        return f"it is no XML: {error}"
    if root.tag != "testsuites":
        return f"its root is <{root.tag[:40]}>, not <testsuites>"
    return tuple(_read_case(case) for suite in root.findall("testsuite") for case in suite.findall("testcase"))


def _read_case(case: ElementTree.Element) -> TestResult:
    name = f"{case.get('classname', '')}.{case.get('name', '')}"
    for tag, status in (("error", "error"), ("failure", "failed"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            kind, message = found.get("type", ""), found.get("message", "") or _failing_line(found.text or "")
            shown = ": ".join(part for part in (kind, message) if part)[:_MESSAGE_SHOWN]
            return TestResult(name=name, status=status, message=shown)
    return TestResult(name=name, status="passed")


def _failing_line(traceback: str) -> str:
    """The source line that a traceback ends at: an `assert` without words says no more."""
    lines = [line.strip() for line in traceback.splitlines() if line.startswith("    ")]
    return next((line for line in reversed(lines) if line.strip("^~ ")), "")
