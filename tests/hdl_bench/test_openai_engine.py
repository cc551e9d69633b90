"""The engine against a server of its protocol, with every fault that we know of."""

import threading
import time

import pytest
from fake_endpoint import KEY, FakeEndpoint, Fault, error
from serving import wait_for

from hdl_bench.openai_endpoint import Endpoint, Pace
from hdl_bench.openai_engine import OpenAIEngine
from hdl_bench.openai_wire import Dialect, retry_after_s
from hdl_bench.sampler import Ask, Listener, derived_seed
from hdl_bench.types import Chat, Sampling
from toolchain.errors import InfrastructureError, UsageError

SAMPLING = Sampling(num_samples=3, max_tokens=50, temperature=0.85, top_p=0.95, seed=4)
CHAT = Chat(system="Be brief.", user="Say something.")


def open_engine(server, *, dialect=None, key=KEY, **pace):
    endpoint = Endpoint(base_url=server.url, model="some/model", key_env="TEST_KEY", api_key=key)
    settings = {"back_off_s": (0.001, 0.01), "timeout_s": 5.0, "max_attempts": 4, "concurrency": 4} | pace
    return OpenAIEngine(endpoint, dialect or Dialect(), Pace(**settings))


def asks(count, num_samples=3):
    return [Ask(problem_id=f"p{i}", prompt=f"question {i}", wanted=tuple(range(num_samples))) for i in range(count)]


def sampled(engine, wanted, sampling=SAMPLING):
    """All samples by (problem, index), and in how many portions they came."""
    portions = []
    engine.sample(wanted, sampling, Listener(on_answers=lambda answers: portions.append(list(answers))))
    return {(s.problem_id, s.sample_idx): s for portion in portions for s in portion}, len(portions)


def test_a_chat_is_sent_and_its_samples_come_in_order():
    with FakeEndpoint().running() as server:
        [group] = open_engine(server).generate([CHAT], SAMPLING)
    seed = derived_seed(4, ["0", 0])
    assert [completion.text for completion in group] == [f"answer {seed} {index}" for index in range(3)]
    assert group[0].finish_reason == "stop"
    assert server.paths == ["/v1/chat/completions"]
    assert server.requests == [
        {
            "model": "some/model",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say something."}],
            "temperature": 0.85,
            "top_p": 0.95,
            "max_tokens": 50,
            "seed": seed,
            "n": 3,
        }
    ]


def test_a_text_is_completed_where_the_model_is_no_chat_model():
    with FakeEndpoint().running() as server:
        engine = open_engine(server, dialect=Dialect(is_chat=False))
        [[completion]] = engine.generate(["module m("], Sampling(max_tokens=5, temperature=0.0, top_p=0.01))
    assert completion.text.startswith("answer ")
    assert server.paths == ["/v1/completions"]
    assert server.requests[0]["prompt"] == "module m("
    assert "n" not in server.requests[0]
    assert (server.requests[0]["temperature"], server.requests[0]["top_p"]) == (0.0, 0.01)


def test_tokens_are_told_with_the_first_sample_of_a_request():
    with FakeEndpoint().running() as server:
        found, num_portions = sampled(open_engine(server), asks(2))
    assert num_portions == 2
    tokens = [(found["p1", i].num_prompt_tokens, found["p1", i].num_completion_tokens) for i in range(3)]
    assert tokens == [(10, 21), (0, 0), (0, 0)]
    with FakeEndpoint(has_usage=False).running() as server:
        found, _ = sampled(open_engine(server), asks(1))
    assert found["p0", 0].num_prompt_tokens is None


@pytest.mark.parametrize(
    "fault",
    [
        error(500, "oops"),
        error(503, "warming up"),
        error(429, "slow down"),
        Fault(cut_to=40),
        Fault(cut_to=0),
        Fault(document={"choices": []}),
        Fault(document={"choices": [{"message": {"content": 7}}]}),
        Fault(document="no object"),
        Fault(silence_s=0.4),
    ],
    ids=lambda fault: f"{fault.status}-{fault.cut_to}-{fault.silence_s}",
)
def test_a_fault_is_tried_again_and_no_sample_is_lost_or_doubled(fault):
    server = FakeEndpoint(fault=lambda number, body: fault if number in (1, 2) else None)
    with server.running():
        engine = open_engine(server, timeout_s=0.2 if fault.silence_s else 5.0)
        found, _ = sampled(engine, asks(5))
    assert len(found) == 15
    assert set(server.paid.values()) == {3}
    assert engine.trouble().startswith("2 tried again: ")


def test_an_endpoint_that_keeps_failing_is_an_infrastructure_error_that_says_what_came_last():
    with FakeEndpoint(fault=lambda number, body: error(502, "bad gateway")).running() as server:
        with pytest.raises(InfrastructureError, match=r"not answered in 4 attempts; last: HTTP 502: bad gateway"):
            sampled(open_engine(server), asks(1))
        assert len(server.requests) == 4


def test_nobody_there_is_an_infrastructure_error():
    with FakeEndpoint().running() as server:
        pass
    with pytest.raises(InfrastructureError, match="ConnectError"):
        sampled(open_engine(server), asks(1))


def test_a_pause_that_the_endpoint_asks_for_holds_all_senders():
    first = error(429, "slow down", headers={"Retry-After": "0.3"})
    times = []

    def fault(number, body):
        times.append(time.monotonic())
        return first if number == 0 else None

    with FakeEndpoint(fault=fault).running() as server:
        sampled(open_engine(server, concurrency=1), asks(3))
    assert times[1] - times[0] >= 0.3
    assert len(server.requests) == 4


def test_retry_after_is_read_in_seconds_and_as_a_date():
    assert retry_after_s({"retry-after": "12"}, now=0) == 12
    assert retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=50) == 10
    assert retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=70) == 0
    assert retry_after_s({"retry-after": "soon"}, now=0) == 0
    assert retry_after_s({}, now=0) == 0
    assert retry_after_s({"retry-after": "1e9"}, now=0) == 600


def test_a_wrong_key_ends_it_at_once_and_is_not_shown():
    with FakeEndpoint().running() as server:
        with pytest.raises(UsageError, match="check the key in TEST_KEY") as caught:
            sampled(open_engine(server, key="sk-wrong-secret", concurrency=1), asks(3))
        assert len(server.requests) == 1
    assert "sk-wrong-secret" not in str(caught.value)
    assert "Incorrect API key provided: [key]" in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (error(404, "no model some/model"), "check --model"),
        (error(400, "temperature must be 1"), "temperature must be 1"),
        (error(429, "pay first", code="insufficient_quota"), "pay first"),
        (Fault(status=403, document={"detail": "no"}), "HTTP 403"),
    ],
)
def test_what_only_the_user_can_change_is_a_usage_error(fault, message):
    with (
        FakeEndpoint(fault=lambda number, body: fault).running() as server,
        pytest.raises(UsageError, match=message),
    ):
        sampled(open_engine(server), asks(1))


def test_requests_under_way_are_waited_for_when_one_fails_for_good():
    has_failed = threading.Event()
    server = FakeEndpoint()

    def fault(number, body):
        if "question 3" not in body["messages"][-1]["content"]:
            has_failed.wait(5)
            time.sleep(0.05)
            return None
        wait_for(lambda: len(server.requests) >= 4)
        has_failed.set()
        return error(400, "too long")

    server.fault = fault
    kept = []
    with server.running():
        with pytest.raises(UsageError, match="too long"):
            open_engine(server, concurrency=4).sample(asks(8), SAMPLING, Listener(on_answers=kept.extend))
        assert sum(server.paid.values()) == len(kept) >= 9
    assert {"p0", "p1", "p2"} <= {sample.problem_id for sample in kept}


def test_an_endpoint_that_gives_one_sample_a_request_is_asked_once_for_each():
    meeting = threading.Barrier(2)

    def meet(number, body):  # two requests are under way at once, or neither is ever answered
        if number in (2, 3):
            meeting.wait(timeout=60)

    with FakeEndpoint(max_n=1, fault=meet).running() as server:
        found, _ = sampled(open_engine(server), asks(4, num_samples=5), Sampling(num_samples=5, temperature=1.0))
    assert len(found) == 20
    assert set(server.paid.values()) == {5}
    assert len({sample.seed for sample in found.values()}) == 20


def test_an_endpoint_that_refuses_n_is_asked_without_it():
    def fault(number, body):
        return error(400, "n must be 1", param="n") if "n" in body else None

    with FakeEndpoint(fault=fault).running() as server:
        found, _ = sampled(open_engine(server), asks(2))
    assert len(found) == 6
    assert set(server.paid.values()) == {3}


def test_an_endpoint_that_knows_only_the_newer_length_field_is_given_it():
    message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."

    def fault(number, body):
        return error(400, message, param="max_tokens") if "max_tokens" in body else None

    with FakeEndpoint(fault=fault).running() as server:
        found, _ = sampled(open_engine(server), asks(6))
    assert len(found) == 18
    assert server.requests[-1]["max_completion_tokens"] == 50


def test_fields_of_the_users_replace_and_remove_ours():
    dialect = Dialect(extra=(("seed", None), ("temperature", 1), ("reasoning_effort", "low")))
    body = dialect.body("m", "p", SAMPLING)
    assert "seed" not in body
    assert (body["temperature"], body["reasoning_effort"]) == (1, "low")


def test_an_answer_that_is_all_reasoning_is_an_empty_one():
    with FakeEndpoint(answer=lambda body, index: None).running() as server:
        [[completion]] = open_engine(server).generate([CHAT], Sampling())
    assert completion.text == ""


def test_no_more_requests_at_once_than_allowed_and_only_what_is_wanted():
    wanted = [Ask(problem_id="done", prompt="q", wanted=()), *asks(6, num_samples=1)]
    with FakeEndpoint(delay_s=0.02).running() as server:
        found, _ = sampled(open_engine(server, concurrency=2), wanted)
    assert len(found) == len(server.requests) == 6
    assert server.most_at_once <= 2


def test_a_stop_is_heard_between_requests():
    kept = []
    with FakeEndpoint().running() as server:
        listener = Listener(on_answers=kept.extend, should_stop=lambda: len(kept) >= 6)
        open_engine(server, concurrency=1).sample(asks(9), SAMPLING, listener)
    assert len(kept) == 6


def test_a_listener_that_fails_ends_sampling():
    def refuse(answers):
        raise InfrastructureError("disk full")

    with FakeEndpoint().running() as server:
        with pytest.raises(InfrastructureError, match="disk full"):
            open_engine(server, concurrency=1).sample(asks(9), SAMPLING, Listener(on_answers=refuse))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("url", "key_env", "message"),
    [
        ("localhost:8000", None, "give http"),
        ("https://me:secret@host/v1", None, "--api-key-env"),
        ("http://host/v1", "NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE is not set"),
        ("http://host/v1", "ODD_KEY", "characters that no key has"),
    ],
)
def test_an_address_or_key_that_cannot_be_is_refused(monkeypatch, url, key_env, message):
    monkeypatch.setenv("ODD_KEY", "a\nb")
    with pytest.raises(UsageError, match=message):
        Endpoint.from_environment(url, "m", key_env)


def test_openais_key_goes_to_openai_alone(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert Endpoint.from_environment("https://api.openai.com/v1/", "m", None).api_key == KEY
    other = Endpoint.from_environment("http://host/v1", "m", None)
    assert (other.api_key, other.key_env) == ("", "")
    assert KEY not in repr(Endpoint.from_environment("http://host/v1", "m", "OPENAI_API_KEY"))
