"""What a hostile program would try, one function an attempt: run by `toolchain.isolation_probe` inside the isolation.

Started as `python -I -S -c SOURCE ATTEMPT ARGUMENT...`. Standard library only. Each attempt prints what it achieved,
and is harmless where it succeeds: it reads a planted file, kills a planted process, ends by itself within seconds.
"""

import ctypes
import errno
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LINGER_S = 2.0
_PR_GET_NO_NEW_PRIVS, _PTRACE_TRACEME, _CLONE_NEWUSER, _IPC_CREAT = 39, 0, 0x10000000, 0o1000
_SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def read_host_file(path: str) -> None:
    """Print a file that lies outside the command's folder."""
    print(Path(path).read_text())


def write_host_file(path: str) -> None:
    """Make a file outside the command's folder."""
    Path(path).write_text("written")


def open_socket(port: str, abstract_name: str) -> None:
    """Reach a listener on this machine, by TCP and by an abstract Unix socket, and look for a way out of it."""
    targets = (
        ("loopback", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", int(port))),
        ("abstract", socket.AF_UNIX, socket.SOCK_STREAM, "\0" + abstract_name),
        ("outside", socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 9)),  # sends nothing: asks for a route
    )
    for name, family, kind, address in targets:
        with suppress(OSError), socket.socket(family, kind) as connection:
            connection.connect(address)
            print(f"reached {name}")


def fork_bomb(num_children: str) -> None:
    """Start children that stay, until refused or at `num_children`."""
    num_started = 0
    with suppress(OSError):
        for _ in range(int(num_children)):
            if os.fork() == 0:
                time.sleep(_LINGER_S)
                os._exit(0)
            num_started += 1
    print(f"children {num_started}")


def fill_disk(nonce: str, num_bytes: str, file_bytes: str) -> None:
    """Write files of the largest size allowed, folder by folder, until refused everywhere or at `num_bytes`."""
    block = bytes(1 << 20)
    num_written = 0
    for folder in (".", *_SHARED_FOLDERS):
        with suppress(OSError):
            number = 0
            while num_written < int(num_bytes):
                path = Path(folder, f"earl-fill-{nonce}-{number}")
                number += 1
                with path.open("wb", buffering=0) as file:
                    print(f"file {path.absolute()}", flush=True)
                    for _ in range(int(file_bytes) // len(block)):
                        num_written += file.write(block)
                        print(f"bytes {num_written}", flush=True)


def exceed_memory(num_bytes: str) -> None:
    """Take more memory than is allowed."""
    with suppress(OSError, MemoryError):
        memory = mmap.mmap(-1, int(num_bytes))
        print(f"bytes {len(memory)}")


def flood_output() -> None:
    """Print without end, on both streams."""
    block = b"x" * (1 << 16)
    while True:
        os.write(1, block)
        os.write(2, block)


def survive(_nonce: str, seconds: str) -> None:
    """Leave a child in a session of its own that no polite signal ends, and refuse to end oneself."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            time.sleep(float(seconds))
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(float(seconds))


def gain_privileges() -> None:
    """Become root in a new namespace, trace a process, or start a program that gains privileges."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_GET_NO_NEW_PRIVS, *(ctypes.c_ulong(0),) * 4) != 1:
        print("gained set-user-id programs")
    if _works_in_child(lambda: libc.ptrace(ctypes.c_long(_PTRACE_TRACEME), 0, None, None) == 0):
        print("gained tracing")
    if _works_in_child(lambda: libc.unshare(_CLONE_NEWUSER) == 0):
        print("gained a user namespace")
    # Who may mount is told that there is no such file system, anybody else that it is not permitted.
    libc.mount(b"none", b"/tmp", b"no-such-file-system", ctypes.c_ulong(0), None)
    if ctypes.get_errno() == errno.ENODEV:
        print("gained mounting")


def _works_in_child(attempt: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        os._exit(0 if attempt() else 1)
    return os.waitpid(child, 0)[1] == 0


def kill_host_process(pid: str) -> None:
    """Kill a process that runs beside the sandbox."""
    os.kill(int(pid), signal.SIGKILL)


def plant(nonce: str) -> None:
    """Leave files and a shared segment where a later command could look."""
    for folder in _SHARED_FOLDERS:
        with suppress(OSError):
            Path(folder, nonce).write_text("planted")
    ctypes.CDLL(None).shmget(int(nonce, 16), ctypes.c_size_t(4096), _IPC_CREAT | 0o600)


def find_planted(nonce: str) -> None:
    """Look for what `plant` left, and remove it."""
    for folder in _SHARED_FOLDERS:
        with suppress(OSError):
            Path(folder, nonce).unlink()
            print(f"found {folder}")
    libc = ctypes.CDLL(None)
    segment = libc.shmget(int(nonce, 16), ctypes.c_size_t(0), 0)
    if segment != -1:
        libc.shmctl(segment, 0, None)
        print("found shared memory")


_ATTEMPTS: dict[str, Callable[..., None]] = {
    attempt.__name__: attempt
    for attempt in (
        read_host_file,
        write_host_file,
        open_socket,
        fork_bomb,
        fill_disk,
        exceed_memory,
        flood_output,
        survive,
        gain_privileges,
        kill_host_process,
        plant,
        find_planted,
    )
}

if __name__ == "__main__":
    print("attempting", flush=True)
    _ATTEMPTS[sys.argv[1]](*sys.argv[2:])
