"""A server of the OpenAI protocol on loopback, with faults that the test decides. It counts what it was paid for."""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-right-0123456789"


@dataclass
class Fault:
    """What happens instead of an answer: a status with a document, an answer cut short, or silence."""

    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_to: int | None = None  # bytes of the answer that are sent, as if they were all
    silence_s: float = 0.0


def error(status: int, message: str, **more: Any) -> Fault:
    headers = more.pop("headers", {})
    return Fault(status=status, document={"error": {"message": message, **more}}, headers=headers)


@dataclass
class FakeEndpoint:
    """`answer` gives the text of a sample from the body and its index; `fault` may spoil request number n (from 0)."""

    answer: Callable[[dict[str, Any], int], str] = lambda body, index: f"answer {body['seed']} {index}"
    fault: Callable[[int, dict[str, Any]], Fault | None] = lambda number, body: None
    max_n: int = 100
    delay_s: float = 0.0
    has_usage: bool = True
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    paid: Counter[str] = field(default_factory=Counter)  # samples answered in full, by the text that was asked
    most_at_once: int = 0
    num_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self, body: dict[str, Any]) -> str:
        return body["prompt"] if "prompt" in body else body["messages"][-1]["content"]

    def respond(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[Fault, bytes]:
        with self.lock:
            number = len(self.requests)
            self.requests.append(body)
            self.headers.append(headers)
            self.paths.append(path)
            self.num_at_once += 1
            self.most_at_once = max(self.most_at_once, self.num_at_once)
        try:
            fault = self.fault(number, body) or Fault()
            time.sleep(fault.silence_s or self.delay_s)
            if headers.get("Authorization") != f"Bearer {KEY}":
                message = f"Incorrect API key provided: {headers.get('Authorization', '').removeprefix('Bearer ')}."
                fault = error(401, message, code="invalid_api_key")
            if fault.document is not None:
                return fault, json.dumps(fault.document).encode()
            n = min(body.get("n", 1), self.max_n)
            choices = [self._choice(body, index) for index in range(n)]
            document: dict[str, Any] = {"id": "x", "model": body["model"], "choices": choices[::-1]}
            if self.has_usage:
                document["usage"] = {"prompt_tokens": 10, "completion_tokens": 7 * n}
            if fault.cut_to is None and not fault.silence_s:
                with self.lock:
                    self.paid[self.asked(body)] += n
            return fault, json.dumps(document).encode()[: fault.cut_to]
        finally:
            with self.lock:
                self.num_at_once -= 1

    def _choice(self, body: dict[str, Any], index: int) -> dict[str, Any]:
        text = self.answer(body, index)
        content = {"text": text} if "prompt" in body else {"message": {"role": "assistant", "content": text}}
        return {"index": index, "finish_reason": "stop", **content}

    @contextmanager
    def running(self) -> Iterator["FakeEndpoint"]:
        endpoint, errors = self, []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                num_bytes = int(self.headers["Content-Length"])
                sent = self.rfile.read(num_bytes)
                if len(sent) < num_bytes:  # who asked was killed in the middle
                    self.close_connection = True
                    return
                fault, content = endpoint.respond(self.path, json.loads(sent), dict(self.headers))
                self.send_response(fault.status)
                for name, value in {"Content-Length": str(len(content)), **fault.headers}.items():
                    self.send_header(name, value)
                with suppress(BrokenPipeError, ConnectionResetError):  # who asked was killed, as some tests do
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.handle_error = lambda request, address: errors.append(sys.exc_info()[1])
        self.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        # A client that is killed before it has asked for anything resets its connection.
        assert all(isinstance(error, ConnectionError) for error in errors), errors
