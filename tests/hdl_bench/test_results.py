"""The results document and its files."""

import json
from dataclasses import replace

from scores_by_hand import score_of

from hdl_bench.results import RunInfo, dataset_hash, results_document, sample_rows, write_results
from hdl_bench.score import read_samples
from verifiers.types import Protocol

SCORE = score_of({"a": "Pm", "b": "PP"}, upstream={"a": "..", "b": ".R"}, errata=("b",))


def test_the_document_has_its_parts():
    document = results_document(SCORE, RunInfo(model="m", temperature=0.8, num_samples=2))
    assert document["format"] == "earl-results-1"
    assert document["benchmark"] == "verilog-eval-v2-spec"
    assert document["config"]["model"] == "m"
    assert document["config"]["top_p"] is None
    assert len(document["config"]["verifier_seeds"]) == 2
    assert document["n-samples"] == {
        "problems": 2,
        "problems_sampled": 2,
        "rows": 4,
        "rows_per_problem_min": 2,
        "rows_per_problem_max": 2,
    }
    assert document["versions"]["iverilog"] == "11.0"
    assert {*document["hashes"]} == {"dataset", "errata", "samples", "prompts", "judge"}
    assert [(row["problem_id"], row["sample_idx"], row["passed"]) for row in document["verdicts"]] == [
        ("a", 0, True),
        ("a", 1, False),
        ("b", 0, True),
        ("b", 1, True),
    ]
    assert [(row["problem_id"], row["passed"], row["compatible"]) for row in document["disagreements"]] == [
        ("a", False, True),
        ("b", True, False),
    ]
    assert document["errata"] == [{"problem_id": "b", "kinds": ["weak_testbench"], "note": "why"}]
    assert document["summary"]["pass@1"] == 0.75
    assert document["summary"]["pass@1_sound"] == 0.5
    assert document["summary"]["pass@1_compatible"] == 0.75
    json.dumps(document, allow_nan=False)


def test_equal_scores_give_equal_documents_but_for_the_date():
    one, two = (results_document(SCORE, RunInfo()) | {"date": ""} for _ in range(2))
    assert one == two


def test_the_dataset_hash_is_of_what_is_asked_and_not_of_what_we_know_beside_it():
    [first, second] = SCORE.benchmark.problems.values()
    same = dataset_hash([first, second])
    assert dataset_hash([second, first]) == same
    hinted = replace(first, oracle=replace(first.oracle, protocol=Protocol(min_cycles=9)), family="x", difficulty=3)
    assert dataset_hash([hinted, second]) == same
    assert dataset_hash([replace(first, prompt="else"), second]) != same
    assert dataset_hash([replace(first, oracle=replace(first.oracle, golden="else")), second]) != same


def test_a_samples_file_can_be_scored_again(tmp_path):
    document = results_document(SCORE, RunInfo())
    results, samples = write_results(tmp_path / "new", document, sample_rows(SCORE, {"a": "the prompt"}))
    date = document["date"][:19].replace(":", "-")
    assert results.name == f"results_{date}.json"
    assert samples.name == f"samples_verilog-eval-v2-spec_{date}.jsonl"
    assert json.loads(results.read_text()) == json.loads(json.dumps(document))
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    assert rows[0]["prompt"] == "the prompt"
    assert rows[2]["prompt"] == "make b"
    assert rows[0]["candidate"] == "module a_0; endmodule"
    assert rows[0]["prompt_hash"] != rows[2]["prompt_hash"]
    assert read_samples(samples, SCORE.benchmark) == tuple(row.sample for row in SCORE.rows)
