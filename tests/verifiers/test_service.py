"""The service: every key judged once, bounded in every way, clear about whose fault it was."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from serving import PARITY, SlowFarm, serving, wait_for

from toolchain.errors import InfrastructureError, UsageError
from verifiers import service as service_module
from verifiers.problem_json import problem_to_json
from verifiers.service_server import open_listener
from verifiers.service_wire import ANSWER
from verifiers.types import CocotbOracle, Outcome

TOKEN = "0123456789abcdef0123456789abcdef"


def batch(*texts: str, **changes: object) -> dict:
    jobs = [{"problem": problem_to_json(PARITY), "completion": text, "seeds": [7]} | changes for text in texts]
    return {"jobs": jobs}


def post(url: str, body: dict, key: str | None = None) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return httpx.post(f"{url}/v1/verdicts", json=body, headers=headers, timeout=20)


def error_of(response: httpx.Response) -> dict:
    assert set(response.json()) == {"error"}
    return response.json()["error"]


@pytest.fixture
def farm() -> SlowFarm:
    return SlowFarm()


@pytest.fixture
def url(farm):
    with serving(farm) as url:
        yield url


def test_judgements_come_back_in_the_order_of_the_jobs(farm, url):
    response = post(url, batch("passed", "mismatch", "tool_error"))
    assert response.status_code == 200
    judgements = ANSWER.validate_json(response.content).judgements
    assert [item.verdict.outcome for item in judgements] == ["passed", "mismatch", "tool_error"]
    assert farm.jobs == [(PARITY, text, (7,)) for text in ("passed", "mismatch", "tool_error")]


def test_the_same_key_and_body_get_the_same_answer_and_are_judged_once(farm, url):
    first, again, other = (post(url, batch("passed"), key=key) for key in ("k1", "k1", "k2"))
    assert first.status_code == again.status_code == other.status_code == 200
    assert first.content == again.content
    assert len(farm.jobs) == 2


def test_a_key_that_is_under_way_is_not_judged_twice_either(farm, url):
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = [pool.submit(post, url, batch("held passed"), "k") for _ in range(4)]
        wait_for(lambda: "earl_batches_replayed_total 3.0" in httpx.get(f"{url}/metrics").text)
        farm.release()
        contents = {answer.result().content for answer in answers}
    assert len(contents) == 1
    assert len(farm.jobs) == 1


def test_a_key_with_another_body_is_refused(farm, url):
    assert post(url, batch("passed"), key="k").status_code == 200
    response = post(url, batch("mismatch"), key="k")
    assert response.status_code == 409
    assert error_of(response)["code"] == "key_reused"
    assert not error_of(response)["is_retryable"]
    assert len(farm.jobs) == 1


def test_our_own_failure_is_no_verdict_and_its_key_may_try_again(farm, url):
    farm.error = InfrastructureError("the disk is full")
    response = post(url, batch("passed"), key="k")
    assert response.status_code == 503
    assert error_of(response) == {"code": "InfrastructureError", "message": "the disk is full", "is_retryable": True}
    farm.error = None
    assert post(url, batch("passed"), key="k").status_code == 200


@pytest.mark.parametrize(
    ("failure", "status", "code"), [(UsageError("no seeds"), 422, "invalid"), (KeyError("bug"), 500, "internal")]
)
def test_other_failures_have_their_own_status_and_the_same_document(farm, url, failure, status, code):
    farm.error = failure
    response = post(url, batch("passed"))
    assert (response.status_code, error_of(response)["code"]) == (status, code)
    assert not error_of(response)["is_retryable"]


def test_a_batch_that_takes_long_is_answered_pending_and_then_by_the_same_key(farm):
    with serving(farm, wait_s=0.05) as url:
        response = post(url, batch("held passed"), key="k")
        assert response.status_code == 202
        assert response.json()["num_jobs"] == 1
        farm.release()
        assert post(url, batch("held passed"), key="k").status_code == 200
    assert len(farm.jobs) == 1


def test_a_full_queue_is_429_with_a_time_to_come_back_and_is_open_again_when_drained(farm):
    with serving(farm, max_pending_jobs=3, wait_s=0.05) as url:
        assert post(url, batch("held passed", "held passed"), key="a").status_code == 202
        refused = post(url, batch("passed", "passed"))
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 30
        assert error_of(refused)["is_retryable"]
        assert post(url, batch("passed")).status_code == 200  # there is room for one
        farm.release()
        assert post(url, batch("held passed", "held passed"), key="a").status_code == 200
        assert post(url, batch("passed", "passed")).status_code == 200
    assert [text for _, text, _ in farm.jobs] == ["held passed"] * 2 + ["passed"] * 3


def test_a_batch_of_too_many_jobs_is_refused_for_good(farm):
    with serving(farm, max_jobs=2) as url:
        response = post(url, batch("passed", "passed", "passed"))
        assert (response.status_code, error_of(response)["code"]) == (413, "too_many_jobs")
        assert not farm.jobs


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit_is_refused_before_it_is_parsed(farm, is_chunked):
    body = json.dumps(batch("passed" + " " * 5000)).encode()
    with serving(farm, max_body_bytes=4000) as url:
        content = iter([body[:3000], body[3000:]]) if is_chunked else body
        response = httpx.post(f"{url}/v1/verdicts", content=content, headers={"Content-Type": "application/json"})
        assert (response.status_code, error_of(response)["code"]) == (413, "too_large")
        assert post(url, batch("passed")).status_code == 200
    assert len(farm.jobs) == 1


def test_without_the_token_only_the_probes_for_life_are_answered(farm):
    farm.submit = None  # nothing may be judged
    with serving(farm, token=TOKEN) as url:
        assert httpx.get(f"{url}/healthz", headers={"Host": "any.name"}).status_code == 200
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
            for path in ("/v1/status", "/metrics", "/openapi.json", "/nowhere"):
                response = httpx.get(url + path, headers=headers)
                assert (response.status_code, error_of(response)["code"]) == (401, "unauthorized")
                assert response.headers["WWW-Authenticate"] == "Bearer"
        assert httpx.get(f"{url}/v1/status", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200


def test_without_a_token_a_name_that_is_not_the_loopbacks_is_refused(farm, url):
    assert httpx.get(f"{url}/healthz", headers={"Host": "localhost:1"}).status_code == 200
    for host in ("attacker.example", "localhost.attacker.example:8765", "127.0.0.1.nip.io"):
        assert httpx.get(f"{url}/healthz", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 7}, "body.jobs.0.seed: Extra inputs are not permitted"),
        ({"seeds": []}, "body.jobs.0.seeds: List should have at least 1 item"),
        ({"seeds": [-1]}, "body.jobs.0.seeds.0: Input should be greater than or equal to 0"),
        ({"seeds": ["7"]}, "body.jobs.0.seeds.0: Input should be a valid integer"),
        ({"completion": None}, "body.jobs.0.completion: Input should be a valid string"),
        ({"problem": {"prompt": ""}}, "problem lacks the key 'problem_id'"),
        ({"problem": problem_to_json(PARITY) | {"golden": ""}}, "problem has the unknown key 'golden'"),
    ],
)
def test_what_is_wrong_with_a_request_is_named_with_its_place(farm, url, change, message):
    response = post(url, batch("passed", **change))
    assert response.status_code == 422
    assert message in error_of(response)["message"]
    assert not farm.jobs


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"jobs":[]}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_batch_is_refused(farm, url, content):
    response = httpx.post(f"{url}/v1/verdicts", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert not error_of(response)["is_retryable"]


def test_a_key_of_odd_characters_is_refused(farm, url):
    assert post(url, batch("passed"), key="a b").status_code == 422
    assert not farm.jobs


def test_ready_means_that_a_right_design_passed_and_a_wrong_one_did_not(farm, url, monkeypatch):
    monkeypatch.setattr(service_module, "_READY_S", 0.0)
    texts = iter(["passed", "passed", "passed", "mismatch"])
    submit = farm.submit
    farm.submit = lambda problem, text, seeds: submit(problem, next(texts), seeds)
    response = httpx.get(f"{url}/readyz")
    assert response.status_code == 503
    assert "a design that must end as mismatch ended as passed" in error_of(response)["message"]
    assert httpx.get(f"{url}/readyz").status_code == 200
    seeds = [seeds for _, _, seeds in farm.jobs]
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]  # no cache can answer the second time


def test_a_proof_of_readiness_is_good_for_some_seconds(farm, url):
    texts = iter(["passed", "mismatch"])
    submit = farm.submit
    farm.submit = lambda problem, text, seeds: submit(problem, next(texts), seeds)
    assert [httpx.get(f"{url}/readyz").status_code for _ in range(3)] == [200, 200, 200]


def test_metrics_count_verdicts_by_outcome_and_answers_by_status(farm, url):
    post(url, batch("passed", "passed", "mismatch"), key="k")
    post(url, batch("passed", "passed", "mismatch"), key="k")
    post(url, {})
    text = httpx.get(f"{url}/metrics").text
    for line in (
        'earl_verdicts_total{outcome="passed"} 2.0',
        'earl_verdicts_total{outcome="mismatch"} 1.0',
        "earl_verdict_seconds_sum 0.75",
        "earl_batches_replayed_total 1.0",
        "earl_pending_jobs 0.0",
        "earl_farm_num_submitted_total 3.0",
        "earl_farm_num_workers 1.0",
        'earl_farm_breaker{state="closed"} 1.0',
        'earl_answers_total{path="/v1/verdicts",status="200"} 2.0',
        'earl_answers_total{path="/v1/verdicts",status="422"} 1.0',
    ):
        assert line in text.splitlines()


def test_the_interface_is_described(url):
    document = httpx.get(f"{url}/openapi.json").json()
    answers = document["paths"]["/v1/verdicts"]["post"]["responses"]
    assert {"200", "202", "401", "409", "413", "422", "429", "503"} <= set(answers)
    schemas = document["components"]["schemas"]
    assert {"problem_id", "oracle", "ports"} <= set(schemas["Problem"]["properties"])
    assert set(Outcome) == set(schemas["Outcome"]["enum"])


def test_a_test_module_from_the_wire_is_not_trusted(farm, url):
    oracle = CocotbOracle(test_source="import os", is_trusted=True)
    problem = replace(PARITY, oracle=oracle)
    assert post(url, batch("passed", problem=problem_to_json(problem))).status_code == 200
    assert farm.jobs[0][0] == replace(problem, oracle=replace(oracle, is_trusted=False))


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "example.org"])
def test_a_place_that_others_can_reach_needs_a_token(host):
    with pytest.raises(UsageError, match="there is no token"):
        open_listener(f"{host}:0", has_token=False)


def test_the_loopback_needs_none_and_a_token_opens_the_rest():
    for bind, has_token in (("127.0.0.1:0", False), ("localhost:0", False), ("0.0.0.0:0", True)):
        with open_listener(bind, has_token=has_token) as listener:
            assert listener.getsockname()[1] > 0


@pytest.mark.parametrize("bind", ["", "8765", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", ":8765"])
def test_an_address_of_another_form_is_refused(bind):
    with pytest.raises(UsageError, match="give HOST:PORT"):
        open_listener(bind, has_token=False)


def test_a_port_that_is_taken_is_told_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match=re.escape(f"cannot listen on {bind}: Address already in use")):
            open_listener(bind, has_token=False)
