"""Builds and runs an image with whatever this machine has: docker, podman, or buildah without a daemon and a registry.

buildah's base is made by debootstrap from the machine's Debian mirror, since it may have no image registry to ask.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolchain.fetch_icarus import debian_mirror

IMAGE = "localhost/earl-verifier"
_SUITE = "trixie"
_BOOTSTRAPPED = f"localhost/earl-{_SUITE}"
# A container in which candidates have the full rung: bubblewrap needs user namespaces and an uncovered /proc.
_NESTING = {
    "docker": ("--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"),
    "podman": ("--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """`program` is docker, podman or buildah; `options` go before the subcommand of every call."""

    program: str
    options: tuple[str, ...] = ()

    @property
    def has_namespaces(self) -> bool:
        """Whether containers are more than a changed root folder, so that bubblewrap works inside."""
        return self.program in _NESTING

    def call(self, *arguments: str, is_quiet: bool = True) -> str:
        """Run the engine and return what it printed; ends this program with its log when it fails."""
        argv = [self.program, *self.options, *arguments]
        result = subprocess.run(argv, stdout=subprocess.PIPE if is_quiet else None, text=True, check=False)
        if result.returncode != 0:
            sys.exit(f"{' '.join(argv[:4])} ... ended with {result.returncode}")
        return (result.stdout or "").strip()

    def build(self, folder: Path, base: str) -> None:
        """Build the first target of the Dockerfile in `folder`."""
        arguments = ["--target", "verifier", "--build-arg", f"BASE={base}", "--tag", IMAGE]
        if self.program == "docker":
            self.call("build", *arguments, str(folder), is_quiet=False)
            return
        with _own_certificates() as volumes:
            isolation = ("--isolation", "chroot", "--network", "host", "--format", "docker", "--layers")
            self.call("build", *isolation, *volumes, *arguments, str(folder), is_quiet=False)

    def make_base(self) -> str:
        """A base image from Debian's packages. Needs root. About a minute, the first time."""
        if _BOOTSTRAPPED in self.call("images", "--format", "{{.Name}}").splitlines():
            return _BOOTSTRAPPED
        with tempfile.TemporaryDirectory(prefix="earl-base-") as folder:
            argv = ["debootstrap", "--variant=minbase", _SUITE, folder, debian_mirror()]
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
            container = self.call("from", "scratch")
            self.call("add", "--quiet", container, folder, "/")
            self.call("commit", "--quiet", container, _BOOTSTRAPPED)
            self.call("rm", container)
        return _BOOTSTRAPPED

    def run_argv(self, container: str, argv: Sequence[str], volumes: Sequence[str] = ()) -> list[str]:
        """The argv that runs a program in the image. `container` is a name that is free, or for buildah one made."""
        mounts = [part for volume in volumes for part in ("--volume", volume)]
        if self.program == "buildah":
            return [self.program, *self.options, "run", "--isolation", "chroot", *mounts, container, "--", *argv]
        flags = ("run", "--rm", "--name", container, "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
        nesting = _NESTING[self.program]
        ports = ("--publish", "127.0.0.1:8765:8765")
        if self.program == "podman":  # where the hard limits are lower than podman's defaults, it fails without these
            nesting = (*nesting, "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--no-healthcheck")
            ports = ("--network", "host")
        return [
            *(self.program, *self.options, *flags, *nesting, *ports, *mounts),
            *("--entrypoint", argv[0], IMAGE, *argv[1:]),
        ]


def choose_engine(wanted: str) -> Engine:
    """The engine of that name, or for "auto": docker if its daemon answers, else buildah. Ends the program if none."""
    has_docker = (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )
    if wanted == "docker" or (wanted == "auto" and has_docker):
        if not has_docker:
            sys.exit("docker is not installed or its daemon does not answer; start it, or use --engine buildah")
        return Engine(program="docker")
    program = "podman" if wanted == "podman" else "buildah"
    missing = [name for name in (program, "debootstrap") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        sys.exit(
            f"no docker daemon answers, and for {program} this needs root and: apt-get install {program} debootstrap"
            f" (missing: {', '.join(missing) or 'root'})"
        )
    os.environ.setdefault("STORAGE_DRIVER", "vfs")  # works on any file system, in a machine of any kind
    has_runc = program == "podman" and shutil.which("runc") is not None
    return Engine(program=program, options=("--runtime", "runc") if has_runc else ())


@contextmanager
def _own_certificates() -> Iterator[tuple[str, ...]]:
    """Volumes that let pip inside the build trust what this machine's pip trusts (PIP_CERT), if that is set."""
    certificates = os.environ.get("PIP_CERT")
    if certificates is None:
        yield ()
        return
    with tempfile.NamedTemporaryFile("w", prefix="earl-pip-", suffix=".conf") as file:
        file.write("[global]\ncert = /etc/build-certificates.crt\n")
        file.flush()
        Path(file.name).chmod(0o644)
        yield (
            *("--volume", f"{certificates}:/etc/build-certificates.crt:ro"),
            *("--volume", f"{file.name}:/etc/pip.conf:ro"),
        )
