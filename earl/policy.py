"""Loads a policy: model, tokenizer, and how a prompt becomes token ids."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from earl.config import PromptConfig
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """A causal language model and how it is spoken to."""

    model: PreTrainedModel
    encoder: PromptEncoder

    def save(self, folder: Path) -> None:
        """Write model and tokenizer in Hugging Face layout."""
        self.model.save_pretrained(str(folder))
        self.encoder.tokenizer.save_pretrained(str(folder))
        check_model_folder(folder)


def load_policy(path: str, prompt: PromptConfig) -> Policy:
    """Model and tokenizer of a folder, a hub name or an alias.

    Raises:
        UsageError: no such model, no weights, not a causal language model, or a tokenizer that does not serve.
    """
    return Policy(model=load_model(path), encoder=load_encoder(path, prompt))


def load_model(path: str) -> PreTrainedModel:
    """The model in evaluation mode (no dropout), weights in fp32. UsageError as for `load_policy`."""
    source = resolve_model(path)
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load a causal language model from {path}: {str(error).splitlines()[0]}") from error
    _refuse_unusual_head(model, path)
    return model.eval()


def head_weight(model: PreTrainedModel) -> torch.Tensor:
    """The vocabulary projection (V, H); it may be the embedding itself."""
    return model.get_output_embeddings().weight


def _refuse_unusual_head(model: PreTrainedModel, path: str) -> None:
    """UsageError where logits are more than hidden states times a matrix: sampler and trainer count on that."""
    head = model.get_output_embeddings()
    values = model.config.to_dict()
    reasons = [
        f"{key} = {values[key]}"
        for key, neutral in (("final_logit_softcapping", None), ("logit_scale", 1.0), ("logits_scaling", 1.0))
        if values.get(key, neutral) not in (neutral, None)
    ]
    if not isinstance(head, torch.nn.Linear) or head.bias is not None:
        reasons.append("its head is no plain matrix")
    if reasons:
        raise UsageError(f"{path} cannot be trained here: {', '.join(reasons)}; choose a model with a plain head")


def load_encoder(path: str, prompt: PromptConfig) -> PromptEncoder:
    """The tokenizer as a PromptEncoder. UsageError if there is none, or no stop token or no template that is needed."""
    source = resolve_model(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load a tokenizer from {path}: {str(error).splitlines()[0]}") from error
    if tokenizer.eos_token_id is None:
        raise UsageError(f"the tokenizer of {path} has no eos token, so no completion could end; set one and save it")
    if prompt.template == "chat" and not tokenizer.chat_template:
        raise UsageError(f'the tokenizer of {path} has no chat template; set prompt.template = "plain"')
    return PromptEncoder(tokenizer=tokenizer, template=prompt.template, max_tokens=prompt.max_tokens)
