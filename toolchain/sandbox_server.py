"""The inner end of a long-lived sandbox: `python -I -S -c <this file> SETTINGS`, started by `sandbox_process`.

Runs inside bubblewrap as an ordinary user and as pid 1, which no program in there can signal. Nothing stays between
jobs: every process in the pid namespace is killed and reaped after each step, and a job's only writable folder is a
tmpfs of its own, which could not be unmounted if anything still held a file of it. Programs run without capabilities,
under rlimits and a system-call filter. Standard library only: nothing of this project can be seen from in here.

Both ways a message is a frame: two 8-byte big-endian lengths, a JSON header, then the bytes that the header's sizes cut
into texts.
"""

import contextlib
import ctypes
import errno
import gc
import json
import os
import queue
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time

JOB_MOUNT = "/job"  # not /tmp: a tool or a Python that is shown to programs may lie below that
JOB_FOLDER, TEMPORARY_FOLDER = f"{JOB_MOUNT}/work", f"{JOB_MOUNT}/tmp"
_TEMPORARY = {name: TEMPORARY_FOLDER for name in ("TMPDIR", "TMP", "TEMP")}
_FRAME = struct.Struct(">QQ")
_CHUNK_BYTES = 1 << 16
_CEILINGS = {  # hard limits of this process, above all that a step may ask for
    resource.RLIMIT_CPU: resource.RLIM_INFINITY,  # its own time counts here
    resource.RLIMIT_AS: 64 << 30,
    resource.RLIMIT_FSIZE: 4 << 30,
    resource.RLIMIT_NPROC: 4096,
}
_OWN_NEEDS = {resource.RLIMIT_AS: 512 << 20}  # it reads and sends what programs print
_NEWNS, _NEWUSER = 0x20000, 0x10000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 1, 2, 4, 0x4000, 0x40000
_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_LIBC = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_LIBC.prctl(option, *padded), f"prctl {option}")


def _mount_tmpfs(target: str, flags: int, options: str) -> None:
    arguments = (b"tmpfs", os.fsencode(target), b"tmpfs", ctypes.c_ulong(flags), options.encode())
    _check(_LIBC.mount(*arguments), f"mount on {target}")


def _enter(settings: dict) -> None:
    """Become a user without rights outside, and the ruler of a user and a mount namespace of our own."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(settings["uid"], settings["uid"], settings["uid"])
        os.setresuid(settings["uid"], settings["uid"], settings["uid"])
        _prctl(_PR_SET_DUMPABLE, 1)  # or the files below would be root's
    uid, gid = os.getuid(), os.getgid()
    _check(_LIBC.unshare(_NEWUSER | _NEWNS), "unshare")
    # The number stays what it was: it is not root's, so a program that is executed has no capability in here either.
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    _check(_LIBC.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "make mounts private")
    for folder in ("/proc", *settings["hidden"]):
        _mount_tmpfs(folder, _MS_RDONLY | _MS_NOSUID | _MS_NODEV, "size=4k,mode=755")


def _serve(connection: socket.socket, settings: dict) -> None:
    """Run job after job. Only this thread can mount; the runner, and so every program, is held to the filter."""
    tasks, answers = queue.SimpleQueue(), queue.SimpleQueue()
    program = bytes.fromhex(settings["filter"])
    threading.Thread(target=_run_filtered, args=(program, tasks, answers), daemon=True).start()
    options = f"size={settings['folder_bytes']},nr_inodes=4096,mode=700"
    while (job := _receive(connection)) is not None:
        _mount_tmpfs(JOB_MOUNT, _MS_NOSUID | _MS_NODEV, options)
        tasks.put(job)
        answer = answers.get()
        if isinstance(answer, BaseException):
            raise answer
        _check(
            _LIBC.umount2(JOB_MOUNT.encode(), 0), "unmount the job's folder"
        )  # busy if anything of the job were left
        _send(connection, *answer)


def _run_filtered(program: bytes, tasks: queue.SimpleQueue, answers: queue.SimpleQueue) -> None:
    try:
        _filter_calls(program)
        while True:
            answers.put(_run_job(*tasks.get()))
    except BaseException as error:  # the boundary of the thread: the other one raises it
        answers.put(error)


def _receive(connection: socket.socket) -> tuple[dict, bytes] | None:
    head = connection.recv(_FRAME.size, socket.MSG_WAITALL)
    if len(head) < _FRAME.size:
        return None
    header_size, body_size = _FRAME.unpack(head)
    data = b""
    while len(data) < header_size + body_size:
        chunk = connection.recv(header_size + body_size - len(data), socket.MSG_WAITALL)
        if not chunk:
            return None
        data += chunk
    return json.loads(data[:header_size]), data[header_size:]


def _send(connection: socket.socket, header: dict, parts: list[bytes]) -> None:
    text = json.dumps(header).encode()
    body = b"".join(parts)
    connection.sendall(_FRAME.pack(len(text), len(body)) + text + body)


def _run_job(header: dict, body: bytes) -> tuple[dict, list[bytes]]:
    """Write the files, run the steps, read back what is wanted."""
    for folder in (JOB_FOLDER, TEMPORARY_FOLDER):
        os.mkdir(folder)
    os.chdir(JOB_FOLDER)
    offset = 0
    for name, size in header["files"]:
        if "/" in name:
            os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "wb", buffering=0) as file:
            file.write(body[offset : offset + size])
        offset += size
    results, parts = [], []
    for step in header["steps"]:
        result, stdout, stderr = _run_step(step)
        results.append(result | {"stdout": len(stdout), "stderr": len(stderr)})
        parts += [stdout, stderr]
        if result["returncode"] != 0 or result["is_timed_out"] or result["is_output_truncated"]:
            break
    outputs = []
    for name in header["collects"]:
        if os.path.isfile(name) and not os.path.islink(name):
            with open(name, "rb") as file:
                parts.append(file.read())
            outputs.append((name, len(parts[-1])))
    os.chdir("/")
    return {"results": results, "outputs": outputs}, parts


def _filter_calls(program: bytes) -> None:
    instructions = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions)))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(header))


def _run_step(step: dict) -> tuple[dict, bytes, bytes]:
    started = time.monotonic()
    out_read, out_write = os.pipe()
    error_read, error_write = os.pipe()
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out_write, 1),
        (os.POSIX_SPAWN_DUP2, error_write, 2),
    ]
    # A program is born with the soft limits. The hard ones, which only it can tell apart, follow while it is loaded.
    limits = _limits_of(step)
    for kind, (soft, _) in limits.items():
        resource.setrlimit(kind, (max(soft, _OWN_NEEDS.get(kind, 0)), _ceiling(kind)))
    restored = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGXCPU]  # ignored by Python, and in `main`
    try:
        argv = step["argv"]
        pid = os.posix_spawn(argv[0], argv, step["env"] | _TEMPORARY, file_actions=actions, setsigdef=restored)
    except OSError as error:
        for descriptor in (out_read, out_write, error_read, error_write):
            os.close(descriptor)
        result = {"returncode": 127, "duration_s": 0.0, "is_timed_out": False, "is_output_truncated": False}
        return result, b"", f"could not start {step['argv'][0]}: {error}".encode()
    for kind, bounds in limits.items():
        resource.prlimit(pid, kind, bounds)
    os.close(out_write)
    os.close(error_write)
    drain = _Drain(step["output_bytes"], out_read, error_read)
    is_timed_out = drain.follow(pid, started + step["wall_s"])
    returncode = _end_all(pid)
    drain.finish()
    result = {
        "returncode": returncode,
        "duration_s": time.monotonic() - started,
        "is_timed_out": is_timed_out,
        "is_output_truncated": drain.is_truncated,
    }
    return result, bytes(drain.texts[out_read]), bytes(drain.texts[error_read])


def _limits_of(step: dict) -> dict[int, tuple[int, int]]:
    """Resource -> soft and hard limit. Passing the soft limit of CPU time is a signal, passing the hard one the end."""
    pairs = {
        resource.RLIMIT_AS: step["memory_bytes"],
        resource.RLIMIT_FSIZE: step["file_bytes"],
        resource.RLIMIT_NPROC: step["processes"],
    }
    bounds = {kind: min(bound, _ceiling(kind)) for kind, bound in pairs.items()}
    return {resource.RLIMIT_CPU: (step["cpu_s"], step["cpu_s"] + 1)} | {kind: (b, b) for kind, b in bounds.items()}


def _ceiling(kind: int) -> int:
    """The hard limit to keep: ours, or a lower one that the worker that started this sandbox lives under."""
    bounds = [bound for bound in (resource.getrlimit(kind)[1], _CEILINGS[kind]) if bound != resource.RLIM_INFINITY]
    return min(bounds, default=resource.RLIM_INFINITY)


def _end_all(pid: int) -> int:
    """Kill whatever runs in this pid namespace, and reap it. The exit code of `pid`, as in subprocess."""
    returncode = None
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    while True:
        try:
            ended, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return returncode
        if ended == pid:
            returncode = os.waitstatus_to_exitcode(status)


class _Drain:
    """Reads both pipes of a step; what comes past the cap is dropped and ends the step."""

    def __init__(self, output_bytes: int, *descriptors: int) -> None:
        self.texts = {descriptor: bytearray() for descriptor in descriptors}
        self.is_truncated = False
        self._room = output_bytes
        for descriptor in descriptors:
            os.set_blocking(descriptor, False)

    def follow(self, pid: int, deadline: float) -> bool:
        """Read until the process ends or passes its cap; True when it passed its deadline."""
        process = os.pidfd_open(pid)
        poll = select.poll()
        for descriptor in (process, *self.texts):
            poll.register(descriptor, select.POLLIN)
        try:
            while not self.is_truncated:
                left = deadline - time.monotonic()
                ready = poll.poll(max(left, 0.0) * 1000)
                if not ready and left <= 0:
                    return True
                for descriptor, _ in ready:
                    if descriptor == process:
                        return False
                    if not self._read(descriptor):
                        poll.unregister(descriptor)
            return False
        finally:
            os.close(process)

    def finish(self) -> None:
        """Read what is left in the pipes, whose writers are dead, and close them."""
        for descriptor in self.texts:
            while self._read(descriptor):
                pass
            os.close(descriptor)

    def _read(self, descriptor: int) -> bool:
        """Whether there was something."""
        try:
            chunk = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        self.is_truncated = self.is_truncated or len(chunk) > self._room
        kept = chunk[: self._room]
        self.texts[descriptor] += kept
        self._room -= len(kept)
        return bool(chunk)


def main() -> None:
    """Say that the sandbox stands, or why not; then serve jobs until the other end closes the socket."""
    settings = json.loads(sys.argv[1])
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # pid 1 gets those signals alone that it has a handler for
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=0) as connection:
        connection.set_inheritable(False)
        try:
            _enter(settings)
        except OSError as error:
            _send(connection, {"problem": str(error), "errno": errno.errorcode.get(error.errno, "")}, [])
            return
        _send(connection, {"problem": ""}, [])
        _serve(connection, settings)


if __name__ == "__main__":
    main()
