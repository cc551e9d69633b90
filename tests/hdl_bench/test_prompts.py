"""What a model is asked, letter for letter, on checkouts of our own making."""

import hashlib

import pytest

from hdl_bench.prompts import PromptOptions, make_prompts, prompt_sha256
from hdl_bench.scored import ScoredBenchmark
from hdl_bench.types import Chat
from toolchain.errors import UsageError
from verifiers.types import Problem, ReferenceOracle

EXAMPLE = "Question:\nAn example.\n\nAnswer:\n[BEGIN]\nmodule TopModule();\nendmodule\n[DONE]\n\n"
SPEC_SYSTEM = "\nYou are a Verilog RTL designer that only writes code using correct Verilog syntax.\n"


@pytest.fixture
def root(tmp_path):
    """A checkout with one problem in both tasks, and examples for one shot."""
    for folder in ("dataset_spec-to-rtl", "dataset_code-complete-iccad2023", "scripts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "dataset_spec-to-rtl" / "Prob1_prompt.txt").write_text("\nCopy a to y.\n\n")
    complete = "\nCopy a to y.\n\nmodule TopModule (\n  input a,\n  output y\n);\n\n"
    (tmp_path / "dataset_code-complete-iccad2023" / "Prob1_prompt.txt").write_text(complete)
    for task in ("spec-to-rtl", "code-complete-iccad2023"):
        (tmp_path / "scripts" / f"verilog-example-prefix_{task}_1-shot.txt").write_text(EXAMPLE)
    return tmp_path


def ask(name, root, prompt="Copy a to y.", top="TopModule", **options):
    oracle = ReferenceOracle(golden="", golden_top="TopModule")
    problem = Problem(problem_id="Prob1", source=name, prompt=prompt, top_module=top, ports=None, oracle=oracle)
    benchmark = ScoredBenchmark(name=name, problems={"Prob1": problem}, prepare=lambda problem_id, text: text)
    return make_prompts(benchmark, ["Prob1"], root, PromptOptions(**options))["Prob1"]


def test_a_specification_is_asked_as_upstream_asks_it(root):
    user = (
        "\nQuestion:\nCopy a to y.\n\nEnclose your code with [BEGIN] and [DONE]. Only output the code snippet\n"
        "and do NOT output anything else.\n\nAnswer:\n"
    )
    assert ask("verilog-eval-v2-spec", root) == Chat(system=SPEC_SYSTEM, user=user)
    assert ask("verilog-eval-v2-spec", root, num_shots=1) == Chat(system=SPEC_SYSTEM, user=EXAMPLE + user)
    assert ask("verilog-eval-v2-spec", root, is_chat=False) == f"{SPEC_SYSTEM}\n{user}"


def test_rules_stand_between_the_question_and_the_instruction(root):
    user = ask("verilog-eval-v2-spec", root, has_rules=True).user
    question, rest = user.split("\nHere are some additional rules and coding conventions.\n")
    assert question == "\nQuestion:\nCopy a to y.\n"
    rules, instruction = rest.split("Enclose your code")
    assert rules.endswith("sensitivity list of any sequential always block.\n\n")
    assert instruction.endswith("\n\nAnswer:\n")


def test_a_header_to_be_completed_comes_after_the_description_in_comments(root):
    chat = ask("verilog-eval-v2-complete", root)
    assert chat.system.startswith("\nYou only complete chats with syntax correct Verilog code.")
    assert chat.user == (
        "\n// Implement the Verilog module based on the following description."
        " Assume that signals are positive clock/clk triggered unless otherwise stated.\n"
        "// \n// Copy a to y.\n// \n\nmodule TopModule (\n  input a,\n  output y\n);\n"
    )
    assert ask("verilog-eval-v2-complete", root, num_shots=1).user == EXAMPLE + chat.user


def test_the_first_version_asks_with_its_papers_words(root):
    header = "module top_module (\n  input a // not b\n);\n"
    chat = ask("verilog-eval-v1-human", root, prompt=f"// Invert.\n//\n// // a table\n\n{header}", top="top_module")
    assert not chat.system.startswith("\n")
    assert chat.user.startswith("Implement the Verilog module based on the following description. Assume that")
    assert chat.user.endswith(f"edge triggered unless otherwise stated.\n\nInvert.\n\n// a table\n\n{header}")


def test_a_design_description_is_sent_as_it_is(root):
    text = "Please act as a professional Verilog designer.\n\n...\n"
    assert ask("rtllm-v2", root, prompt=text) == Chat(system="", user=text)
    assert ask("rtllm-v2", root, prompt=text, is_chat=False) == text


def test_other_problems_are_asked_as_in_training(root):
    assert ask("procedural", root, prompt="\nA gate.\n") == Chat(system="", user="\nA gate.\n")
    assert ask("procedural", root, prompt="\nA gate.\n", is_chat=False) == "A gate.\n\n"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("verilog-eval-v2-spec", {"num_shots": 3}, "spec-to-rtl_3-shot.txt is missing"),
        ("verilog-eval-v2-complete", {"has_rules": True}, "no rules"),
        ("rtllm-v2", {"num_shots": 1}, "no worked examples"),
    ],
)
def test_what_a_benchmark_does_not_have_is_refused(root, name, options, message):
    with pytest.raises(UsageError, match=message):
        ask(name, root, **options)


def test_the_hash_is_that_of_what_is_sent():
    assert prompt_sha256("a") == hashlib.sha256(b"a").hexdigest()
    assert prompt_sha256([{"role": "user"}]) == hashlib.sha256(b'[{"role":"user"}]').hexdigest()


def test_a_chat_without_a_system_line_is_one_message():
    assert Chat(system="", user="u").messages() == [{"role": "user", "content": "u"}]
    assert [message["role"] for message in Chat(system="s", user="u").messages()] == ["system", "user"]
