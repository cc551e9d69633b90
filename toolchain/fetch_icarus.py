"""Puts another Debian release's Icarus Verilog into a folder of its own: `python -m toolchain.fetch_icarus FOLDER`.

The packages come from the machine's own Debian mirror through apt, are checked by its keys and only unpacked: nothing
is installed, no root is needed. The programs run with the C library that they were built for, by small scripts.
Needs a Debian machine, or one with apt and the address of a Debian mirror.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from toolchain.errors import EarlError, InfrastructureError, UsageError

_PACKAGES = ("iverilog", "libc6", "libstdc++6", "libreadline8t64", "libtinfo6", "zlib1g", "libbz2-1.0", "libgcc-s1")
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_WALL_S = 600.0
_PROGRAMS = ("usr/bin/iverilog", "usr/bin/vvp", "{library}/ivl/ivl", "{library}/ivl/ivlpp")
_OWN_FOLDER_OPTION = {"iverilog": "-B", "vvp": "-M"}  # where the program looks for its parts
_PROBE = 'module probe; reg [3:0] y; initial begin y = 4\'d9; $display("y=%0d", y + 1); end endmodule\n'


def fetch(folder: Path, *, suite: str, mirror: str) -> None:
    """Unpack `suite`'s Icarus into `folder`, which must not exist, and prove that it compiles and runs a design.

    Raises UsageError for a folder that exists, InfrastructureError when apt or the new programs fail.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists; name a folder that does not, or remove it.")
    with tempfile.TemporaryDirectory(prefix="earl-apt-") as name:
        packages = _download(Path(name), suite, mirror)
        folder.mkdir(parents=True)
        for package in packages:
            _call("dpkg-deb", "--extract", str(package), str(folder))
    for program in _PROGRAMS:
        _wrap(folder, folder / program.format(library=_library(folder)))
    _prove(folder)


def debian_mirror() -> str:
    """The Debian mirror that this machine's apt uses. Raises UsageError when it uses none."""
    targets = _call("apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN)").splitlines()
    mirrors = [line.split()[0] for line in targets if line.endswith(" Debian") and "security" not in line]
    if not mirrors:
        raise UsageError("this machine's apt has no Debian mirror; name one by --mirror, or run apt-get update first.")
    return mirrors[0]


def _download(folder: Path, suite: str, mirror: str) -> list[Path]:
    """The packages' files, by an apt that knows this suite only and leaves the machine's own alone."""
    for name in ("lists/partial", "cache/archives/partial", "etc"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "etc/sources.list").write_text(f"deb [signed-by={_KEYS}] {mirror} {suite} main\n")
    options = {
        "Dir::Etc": folder / "etc",
        "Dir::Etc::SourceList": folder / "etc/sources.list",
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::Status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",
    }
    settings = [f"-o{key}={value}" for key, value in options.items()]
    _call("apt-get", "-qq", *settings, "update")
    _call("apt-get", "-qq", *settings, "download", *_PACKAGES, cwd=folder)
    return sorted(folder.glob("*.deb"))


def _library(folder: Path) -> Path:
    [found] = (folder / "usr/lib").glob("*/ivl")
    return found.parent


def _wrap(folder: Path, program: Path) -> None:
    """Put a script in the program's place that starts it by its own loader and libraries."""
    library = _library(folder)
    [loader] = library.glob("ld-linux-*.so.*")
    real = program.with_name(program.name + ".real")
    program.rename(real)
    words = [str(loader), "--library-path", str(library), str(real)]
    if program.name in _OWN_FOLDER_OPTION:
        words += [_OWN_FOLDER_OPTION[program.name], str(library / "ivl")]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)


def _prove(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="earl-icarus-") as name:
        Path(name, "probe.v").write_text(_PROBE)
        _call(str(folder / "usr/bin/iverilog"), "-g2012", "-o", "probe.vvp", "probe.v", cwd=Path(name))
        said = _call(str(folder / "usr/bin/vvp"), "-n", "probe.vvp", cwd=Path(name))
    if said.strip() != "y=10":
        raise InfrastructureError(f"the Icarus in {folder} printed {said[:200]!r} where y=10 is right; remove it.")


def _call(*argv: str, cwd: Path | None = None) -> str:
    environment = os.environ | {"LC_ALL": "C"}
    try:
        result = subprocess.run(
            argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=_WALL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfrastructureError(f"{argv[0]} could not be run: {error}. This needs a machine with apt.") from error
    if result.returncode != 0:
        raise InfrastructureError(f"{argv[0]} ended with {result.returncode}: {result.stderr.strip()[-400:]}")
    return result.stdout


def main() -> None:
    """Fetch, and print the settings that make earl use it."""
    parser = argparse.ArgumentParser(prog="python -m toolchain.fetch_icarus", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suite", default="trixie", help="Debian release: trixie has Icarus 12, forky Icarus 13")
    parser.add_argument("--mirror", help="address of a Debian mirror; default: the one of this machine's apt")
    options = parser.parse_args()
    folder = options.folder.absolute()
    try:
        fetch(folder, suite=options.suite, mirror=options.mirror or debian_mirror())
    except EarlError as error:
        print(f"fetch_icarus: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"export EARL_IVERILOG={shlex.quote(str(folder / 'usr/bin/iverilog'))}")
    print(f"export EARL_VVP={shlex.quote(str(folder / 'usr/bin/vvp'))}")


if __name__ == "__main__":
    main()
