"""The client: no job lost on the way, none credited twice, and what fails on the way is never a verdict."""

import json
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from serving import PARITY, SlowFarm, judgement, running, serving, wait_for
from starlette.responses import JSONResponse, Response

from toolchain.errors import DeadlineExceeded, InfrastructureError, UsageError
from verifiers import client_http
from verifiers import connect as connect_module
from verifiers.client import ServiceClient
from verifiers.connect import FarmSettings, connect
from verifiers.service_errors import ServiceError, overloaded
from verifiers.service_server import open_listener, url_of
from verifiers.service_wire import ANSWER, WIRE_VERSION, BatchAnswer, Status
from verifiers.types import Outcome

TOKEN = "0123456789abcdef0123456789abcdef"
_STATUS = Status(
    wire_version=WIRE_VERSION,
    version="0",
    isolation="rlimits",
    max_jobs=8,
    max_pending_jobs=8,
    max_body_bytes=1 << 20,
    num_pending_jobs=0,
    farm=SlowFarm().stats(),
)
_PASSED = ANSWER.dump_json(BatchAnswer(judgements=(judgement(Outcome.PASSED, 1),)))


@pytest.fixture(autouse=True)
def short_back_off(monkeypatch):
    monkeypatch.setattr(client_http, "_BACK_OFF_S", (0.01, 0.05))


class ScriptedService:
    """Answers batches with what the script says, in order; the last one again and again."""

    def __init__(self, *script: Response | ServiceError | None, status: Status = _STATUS) -> None:
        self._script = list(script)
        self._status = status
        self.requests: list[tuple[str, dict]] = []  # key and body of each batch

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/v1/status":
            await JSONResponse(self._status.model_dump())(scope, receive, send)
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        headers = dict(scope["headers"])
        self.requests.append((headers[b"idempotency-key"].decode(), json.loads(body)))
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if answer is None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
            await send({"type": "http.response.body", "body": b'{"judge', "more_body": True})
            return  # the server closes the connection, since the answer is not whole
        await (answer.response() if isinstance(answer, ServiceError) else answer)(scope, receive, send)


@contextmanager
def scripted(service: ScriptedService):
    config = uvicorn.Config(service, lifespan="off", log_level="critical")
    with open_listener("127.0.0.1:0", has_token=True) as listener, running(uvicorn.Server(config), listener):
        yield url_of(listener)


def ok() -> Response:
    return Response(_PASSED, media_type="application/json")


def test_judgements_come_back_in_order_and_progress_is_told():
    farm, told = SlowFarm(), []
    texts = ["passed", "mismatch", "tool_error", "timeout"] * 20
    with serving(farm, max_jobs=8) as url, ServiceClient(url) as client:
        assert client.isolation == "rlimits"
        jobs = [(PARITY, text, (seed,)) for seed, text in enumerate(texts)]
        judgements = client.judge_all(jobs, progress=lambda num_done, num_jobs: told.append((num_done, num_jobs)))
    assert [item.verdict.outcome for item in judgements] == texts
    assert [item.verdict.seed for item in judgements] == list(range(80))
    assert told == [(number, 80) for number in range(1, 81)]
    assert sorted(seeds for _, _, seeds in farm.jobs) == [(seed,) for seed in range(80)]  # each judged once


def test_equal_jobs_under_way_share_one_future():
    farm = SlowFarm()
    with serving(farm) as url, ServiceClient(url) as client:
        first, second = (client.submit(PARITY, "held passed", (1,)) for _ in range(2))
        assert first is second
        wait_for(lambda: farm.jobs)
        farm.release()
        assert first.result(20).verdict.passed
        third = client.submit(PARITY, "passed", (1,))
        assert third is not first  # not under way any more
        third.result(20)
        assert client.stats() == farm.stats()
        assert client.stats().num_submitted == 2
    assert [text for _, text, _ in farm.jobs] == ["held passed", "passed"]


@pytest.mark.parametrize(
    "failure",
    [
        None,
        overloaded(0, "full"),
        ServiceError(503, "InfrastructureError", "a farm broke"),
        Response("<html>bad gateway</html>", status_code=502),
        JSONResponse({"num_jobs": 1, "message": "under way"}, status_code=202),
    ],
    ids=["lost connection", "429", "503", "502 of a proxy", "202"],
)
def test_a_batch_is_sent_again_under_the_same_key_until_it_is_answered(failure):
    service = ScriptedService(failure, failure, ok())
    with scripted(service) as url, ServiceClient(url) as client:
        assert client.submit(PARITY, "x", (1,)).result(20).verdict.passed
    keys = {key for key, _ in service.requests}
    bodies = {json.dumps(body) for _, body in service.requests}
    assert (len(service.requests), len(keys), len(bodies)) == (3, 1, 1)


def test_retry_after_is_kept():
    service = ScriptedService(overloaded(1, "full"), ok())
    with scripted(service) as url, ServiceClient(url) as client:
        started = time.monotonic()
        client.submit(PARITY, "x", (1,)).result(20)
        assert time.monotonic() - started >= 1.0


def test_a_service_that_restarts_in_mid_run_loses_no_job():
    first_farm, second_farm = SlowFarm(), SlowFarm()
    with serving(first_farm, wait_s=0.05) as url:
        client = ServiceClient(url)
        future = client.submit(PARITY, "held passed", (1,))
        wait_for(lambda: first_farm.jobs)
    waiting = client.submit(PARITY, "passed", (2,))
    assert not future.done()
    with client, serving(second_farm, bind=url.removeprefix("http://")):
        assert waiting.result(20).verdict.seed == 2
        wait_for(lambda: len(second_farm.jobs) == 2)
        second_farm.release()
        assert future.result(20).verdict.seed == 1


def test_a_deadline_names_what_was_waited_for_and_what_came_last():
    service = ScriptedService(ServiceError(503, "InfrastructureError", "no simulator"))
    with scripted(service) as url, ServiceClient(url, deadline_s=0.3) as client:
        error = client.submit(PARITY, "x", (1,)).exception(20)
    assert isinstance(error, DeadlineExceeded)
    assert f"waited 0.3 s for 1 verdicts (parity first) from {url}; last: HTTP 503: no simulator" in str(error)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (Response("boom", status_code=500), InfrastructureError, "HTTP 500: boom"),
        (Response("{}", media_type="application/json"), InfrastructureError, "answered no judgements"),
        (Response('{"judgements":[]}'), InfrastructureError, "answered 0 judgements for 1 jobs"),
        (ServiceError(409, "key_reused", "used"), InfrastructureError, "HTTP 409: used"),
        (ServiceError(422, "invalid", "seeds"), UsageError, "refuses: HTTP 422: seeds"),
    ],
)
def test_an_answer_that_is_no_verdict_is_an_error(answer, error, message):
    with scripted(ScriptedService(answer)) as url, ServiceClient(url) as client:
        got = client.submit(PARITY, "x", (1,)).exception(20)
    assert isinstance(got, error)
    assert message in str(got)


def test_a_job_that_is_refused_does_not_take_its_batch_along():
    farm = SlowFarm()
    with serving(farm, max_body_bytes=6000) as url, ServiceClient(url, num_connections=1) as client:
        texts = ["passed", "mismatch" + " " * 9000, "mismatch"]
        futures = [client.submit(PARITY, text, (seed,)) for seed, text in enumerate(texts)]
        assert futures[0].result(20).verdict.passed
        assert isinstance(futures[1].exception(20), UsageError)
        assert futures[2].result(20).verdict.outcome is Outcome.MISMATCH


def test_text_that_no_wire_can_carry_arrives_as_the_farm_would_judge_it():
    farm = SlowFarm()
    with serving(farm, wait_s=0.05) as url, ServiceClient(url) as client:
        future = client.submit(PARITY, "held passed\ud800", (1,))
        wait_for(lambda: farm.jobs)
        assert farm.jobs[0][1] == "held passed?"
    assert isinstance(future.exception(20), InfrastructureError)


def test_closing_fails_what_is_not_judged_and_leaves_no_thread():
    farm = SlowFarm()
    with serving(farm, wait_s=0.05) as url:
        client = ServiceClient(url)
        future = client.submit(PARITY, "held passed", (1,))
        wait_for(lambda: farm.jobs)
        client.close()
        client.close()
        assert isinstance(future.exception(1), InfrastructureError)
        with pytest.raises(InfrastructureError, match="closed"):
            client.submit(PARITY, "passed", (1,))
        farm.release()
    assert "service-client" not in {thread.name for thread in threading.enumerate()}


def test_the_token_comes_from_a_file_and_a_wrong_one_is_told_at_once(tmp_path):
    right, wrong, short = tmp_path / "right", tmp_path / "wrong", tmp_path / "short"
    right.write_text(TOKEN + "\n")
    wrong.write_text(TOKEN[::-1])
    short.write_text("abc")
    with serving(SlowFarm(), token=TOKEN) as url:
        with connect(url, FarmSettings(), token_file=right) as client:
            assert client.submit(PARITY, "passed", (1,)).result(20).verdict.passed
        for path, message in ((wrong, "HTTP 401.*token_file"), (None, "HTTP 401"), (short, "must be one word of 16")):
            with pytest.raises(UsageError, match=message):
                connect(url, FarmSettings(), token_file=path)
        with pytest.raises(UsageError, match="cannot read the token file"):
            connect(url, FarmSettings(), token_file=tmp_path / "none")


def test_a_service_of_another_wire_version_is_refused():
    status = _STATUS.model_copy(update={"wire_version": WIRE_VERSION + 1})
    with (
        scripted(ScriptedService(ok(), status=status)) as url,
        pytest.raises(InfrastructureError, match=f"speaks wire version {WIRE_VERSION + 1}, this end {WIRE_VERSION}"),
    ):
        ServiceClient(url)


def test_nobody_at_the_address_is_told_with_a_deadline():
    with pytest.raises(
        DeadlineExceeded, match=r"waited 0\.2 s for the status from http://127\.0\.0\.1:9; last: Connect"
    ):
        ServiceClient("http://127.0.0.1:9", open_s=0.2)


@pytest.mark.parametrize("address", ["", "locally", "ftp://host", "127.0.0.1:8765", "http://"])
def test_an_address_of_no_known_form_is_refused(address):
    with pytest.raises(UsageError):
        connect(address, FarmSettings())


def test_a_package_that_an_address_needs_is_named(monkeypatch):
    monkeypatch.setattr(connect_module.importlib.util, "find_spec", lambda name: None)
    for address, needed in (("http://127.0.0.1:9", "httpx"), ("ray", "ray"), ("ray://host:1", "grpc")):
        with pytest.raises(UsageError, match=rf"needs the package {needed}; pip install 'earl-rtl\["):
            connect(address, FarmSettings())


def test_a_job_without_seeds_is_refused_at_once():
    with serving(SlowFarm()) as url, ServiceClient(url) as client, pytest.raises(UsageError, match="one seed"):
        client.submit(PARITY, "passed", ())
