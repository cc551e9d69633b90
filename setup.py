"""Builds the compiled ops `earl._C`. All metadata is in pyproject.toml.

No -march: the sources pick the instruction set at run time. The OpenMP runtime is not linked: torch has loaded its own
by the time the module is imported, and a second one would be a second pool of threads.
"""

from pathlib import Path

from setuptools import setup

try:
    from torch.utils.cpp_extension import BuildExtension, CppExtension
except ImportError as error:
    raise SystemExit(
        "earl-rtl: the build of earl._C needs torch in this environment, and torch could not be imported "
        f"({error}). Run `pip install torch==2.13.0`, then `pip install --no-build-isolation -e .`"
    ) from error

COMPILE_ARGS = ["-O3", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-g0", "-Wall"]

setup(
    ext_modules=[
        CppExtension(
            "earl._C",
            sources=["csrc/ops.cpp", *sorted(str(path) for path in Path("csrc").glob("*_cpu.cpp"))],
            depends=sorted(str(path) for path in Path("csrc").glob("*.h")),
            extra_compile_args=COMPILE_ARGS,
        )
    ],
    cmdclass={"build_ext": BuildExtension},
)
