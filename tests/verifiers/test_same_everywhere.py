"""A candidate is judged the same through library, farm, command line, service and Ray."""

import dataclasses
import json
from pathlib import Path

import pytest
from serving import serving

from earl.cli import main
from verifiers.client import ServiceClient
from verifiers.connect import FarmSettings, connect
from verifiers.farm import Farm
from verifiers.judgement import Judgement
from verifiers.problem_json import problem_to_json
from verifiers.types import Port, Problem, ReferenceOracle
from verifiers.verify import Verifier

pytestmark = [pytest.mark.tool, pytest.mark.slow]

_ADVERSARIAL = Path(__file__).parents[1] / "adversarial"
_GOLDEN = (
    "module TopModule(input clk, input rst, input en, output reg [3:0] q);\n"
    "  always @(posedge clk) if (rst) q <= 0; else if (en) q <= q + 1;\nendmodule\n"
)
_PROBLEM = Problem(
    problem_id="counter",
    source="test",
    prompt="",
    top_module="TopModule",
    ports=(
        *(Port(name=name, direction="input") for name in ("clk", "rst", "en")),
        Port(name="q", direction="output", width=4),
    ),
    oracle=ReferenceOracle(golden=_GOLDEN, golden_top="TopModule"),
)
_FORGED = (
    "print_pass_line",
    "finish_at_time_zero",
    "force_testbench_match",
    "missing_port",
    "narrow_output",
    "supply_on_clock",
    "unterminated_comment",
    "ignores_enable",
    "wrong_edge",
    "undriven_output",
    "time_reader",
)
_TEXTS = {
    "golden": _GOLDEN,
    "fenced": f"<think>count</think>Here:\n```verilog\n{_GOLDEN}```\n",
    "carriage returns": _GOLDEN.replace("\n", "\r\n"),
    "no code": "I do not know.",
    "nothing": "",
    "half a surrogate": _GOLDEN + "// \ud800",
    "syntax": _GOLDEN.replace(";", "", 1),
    "counts down": _GOLDEN.replace("q + 1", "q - 1"),
    "stuck": _GOLDEN.replace("q <= q + 1", "q <= 0"),
    **{name: (_ADVERSARIAL / f"{name}.v").read_text() for name in _FORGED},
}
_SEEDS = (11, 12)


def _comparable(judgement: Judgement) -> Judgement:
    return dataclasses.replace(judgement, verdict=dataclasses.replace(judgement.verdict, duration_s=0.0))


def _all(judge) -> dict[str, Judgement]:
    judgements = judge.judge_all([(_PROBLEM, text, _SEEDS) for text in _TEXTS.values()])
    return dict(zip(_TEXTS, map(_comparable, judgements), strict=True))


@pytest.fixture(scope="module")
def expected() -> dict[str, Judgement]:
    """What the library says."""
    verifier = Verifier()
    texts = {name: text.encode(errors="replace").decode() for name, text in _TEXTS.items()}
    return {name: _comparable(verifier.judge(_PROBLEM, text, _SEEDS)) for name, text in texts.items()}


def test_the_candidates_end_in_many_ways(expected):
    assert len(expected) == 20
    assert len({item.verdict.outcome for item in expected.values()}) >= 6
    assert [name for name, item in expected.items() if item.verdict.passed] == [
        "golden",
        "fenced",
        "carriage returns",
        "half a surrogate",
    ]


def test_the_farm_and_the_service_say_what_the_library_says(expected):
    with Farm(num_workers=2) as farm:
        assert _all(farm) == expected
        with serving(farm) as url, ServiceClient(url) as client:
            assert _all(client) == expected


def test_ray_says_what_the_library_says(expected):
    ray = pytest.importorskip("ray")
    with connect("ray", FarmSettings(num_workers=1)) as farm:
        assert _all(farm) == expected
    assert not ray.is_initialized()  # who connected disconnects


def test_the_command_line_says_what_the_library_says(expected, tmp_path, capsys):
    problem_file, candidate_file = tmp_path / "problem.json", tmp_path / "candidate.v"
    problem_file.write_text(json.dumps(problem_to_json(_PROBLEM)))
    arguments = ["verify", "--problem", str(problem_file), "--candidate", str(candidate_file), "--json"]
    for name in ("golden", "fenced", "counts down", "syntax", "no code", "finish_at_time_zero", "missing_port"):
        candidate_file.write_text(_TEXTS[name], newline="")
        with pytest.raises(SystemExit) as stop:
            main([*arguments, *(f"--seed={seed}" for seed in _SEEDS)])
        document = json.loads(capsys.readouterr().out)
        verdict = json.loads(json.dumps(dataclasses.asdict(expected[name].verdict)))
        assert stop.value.code == (0 if expected[name].verdict.passed else 1)
        for key in verdict.keys() - {"outputs", "duration_s"}:
            assert document[key] == verdict[key], (name, key)
        outputs = [{key: output[key] for key in output if key != "matched_fraction"} for output in document["outputs"]]
        assert outputs == verdict["outputs"]
