"""Loads a policy: model, tokenizer, and how a prompt becomes token ids."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from earl.model_source import check_model_folder, resolve_model
from toolchain.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptEncoder:
    """Text to token ids, one way for warm start, rollouts and evaluation."""

    tokenizer: PreTrainedTokenizerBase
    template: str  # "plain" | "chat"
    max_tokens: int

    def encode_prompt(self, prompt: str) -> list[int]:
        """The ids that a completion follows. UsageError for a prompt longer than `max_tokens`."""
        if self.template == "chat":
            messages = [{"role": "user", "content": prompt}]
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        else:
            text = prompt.strip("\n") + "\n\n"
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise UsageError("a prompt is empty; every problem needs a description")
        if len(ids) > self.max_tokens:
            raise UsageError(
                f"a prompt has {len(ids)} tokens, over prompt.max_tokens = {self.max_tokens}; raise it or shorten"
            )
        return list(ids)

    def encode_completion(self, text: str) -> list[int]:
        """The ids of an answer with the stop token at its end."""
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.stop_token_id]

    def decode(self, token_ids: list[int]) -> str:
        return self.tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    @property
    def stop_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)


def load_policy(path: str, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A causal language model in evaluation mode (no dropout), fp32 masters by default.

    Raises:
        UsageError: no such model, no weights, or not a causal language model.
    """
    source = resolve_model(path)
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load a causal language model from {path}: {str(error).splitlines()[0]}") from error
    return model.eval()


def load_encoder(path: str, *, template: str, max_tokens: int) -> PromptEncoder:
    """The tokenizer of a model folder as a PromptEncoder. UsageError if it has none, or no stop token or template."""
    source = resolve_model(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load a tokenizer from {path}: {str(error).splitlines()[0]}") from error
    if tokenizer.eos_token_id is None:
        raise UsageError(f"the tokenizer of {path} has no eos token, so no completion could end; set one and save it")
    if template == "chat" and not tokenizer.chat_template:
        raise UsageError(f'the tokenizer of {path} has no chat template; set prompt.template = "plain"')
    return PromptEncoder(tokenizer=tokenizer, template=template, max_tokens=max_tokens)


def save_policy(model: PreTrainedModel, encoder: PromptEncoder, folder: Path) -> None:
    """Write model and tokenizer in Hugging Face layout."""
    model.save_pretrained(str(folder))
    encoder.tokenizer.save_pretrained(str(folder))
    check_model_folder(folder)
