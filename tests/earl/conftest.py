"""Fixtures around the tiny policy."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch
from tiny import build_tiny_model, build_tiny_tokenizer
from transformers import LlamaForCausalLM

from earl.policy import PromptEncoder

hypothesis.settings.register_profile("earl", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("earl")


@pytest.fixture(scope="session")
def tiny_encoder() -> PromptEncoder:
    return PromptEncoder(tokenizer=build_tiny_tokenizer(), template="plain", max_tokens=512)


@pytest.fixture
def tiny_model(tiny_encoder: PromptEncoder) -> LlamaForCausalLM:
    return build_tiny_model(len(tiny_encoder.tokenizer))


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: PromptEncoder) -> Path:
    """A model folder in Hugging Face layout."""
    folder = tmp_path_factory.mktemp("tiny") / "policy"
    build_tiny_model(len(tiny_encoder.tokenizer)).save_pretrained(str(folder))
    tiny_encoder.tokenizer.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread of torch: the tiny model has no work for two, which wait for each other on a busy machine."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
