"""Loads a policy: model, tokenizer, and how a prompt becomes token ids."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from earl import checkpointing, lora
from earl.config import Config, PromptConfig
from earl.model_source import base_of, check_model_folder, is_adapter, light_source, resolve_model
from hdl_bench.types import Chat, Prompt
from toolchain.errors import InfrastructureError, UsageError

_UNKNOWN_LENGTH = 1 << 20  # of a model whose config names no longest sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptEncoder:
    """Prompts to token ids, one way for warm start, rollouts and evaluation.

    `template` says how a text is put: "plain" (its own paragraph), "chat" (what a user says) or "verbatim". A `Chat`
    always goes through the tokenizer's chat template. `more_stop_ids` end a completion too.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str  # "plain" | "chat" | "verbatim"
    max_tokens: int
    more_stop_ids: tuple[int, ...] = ()

    def render(self, prompt: Prompt) -> str:
        """The text that the model reads. UsageError for a chat that the tokenizer's template refuses."""
        if isinstance(prompt, Chat):
            return self._chat_text(prompt)
        if self.template == "chat":
            return self._chat_text(Chat(system="", user=prompt))
        return prompt if self.template == "verbatim" else prompt.strip("\n") + "\n\n"

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """The ids that a completion follows. UsageError for a prompt longer than `max_tokens`.

        A verbatim text gets the special tokens that the tokenizer begins a text with; a chat template has its own.
        """
        is_verbatim = self.template == "verbatim" and isinstance(prompt, str)
        ids = self.tokenizer(self.render(prompt), add_special_tokens=is_verbatim)["input_ids"]
        if not ids:
            raise UsageError("a prompt is empty; every problem needs a description")
        if len(ids) > self.max_tokens:
            raise UsageError(
                f"a prompt has {len(ids)} tokens and {self.max_tokens} are allowed (prompt.max_tokens, or what"
                " --max-tokens leaves of the model's length); allow more or shorten it"
            )
        return list(ids)

    def _chat_text(self, chat: Chat) -> str:
        def applied(messages: list[dict[str, str]]) -> str:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

        try:
            return applied(chat.messages())
        except TemplateError as error:
            if not chat.system:
                raise UsageError(f"the tokenizer's chat template refuses the prompt: {error}; ask plainly") from error
        # A model without a system role is told the system line by the user.
        return applied(Chat(system="", user=f"{chat.system}\n{chat.user}").messages())

    def encode_completion(self, text: str) -> list[int]:
        """The ids of an answer with the stop token at its end."""
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.stop_token_id]

    def decode(self, token_ids: list[int]) -> str:
        return self.tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    @property
    def stop_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """All ids that end a completion."""
        return frozenset((self.stop_token_id, *self.more_stop_ids))


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """A causal language model and how it is spoken to."""

    model: PreTrainedModel
    encoder: PromptEncoder

    def save(self, folder: Path) -> None:
        """Write model and tokenizer in Hugging Face layout; of a model with adapters only these, in peft's."""
        if lora.has_adapters(self.model):
            lora.save_adapters(self.model, folder)
        else:
            self.model.save_pretrained(str(folder))
        self.encoder.tokenizer.save_pretrained(str(folder))
        check_model_folder(folder)

    def save_whole(self, folder: Path) -> None:
        """`save`, in the place of what is there, under another name first: a kill leaves no half of one.

        InfrastructureError when the disk refuses.
        """
        partial = folder.with_name(f".partial-{folder.name}")
        for old in (partial, folder):
            shutil.rmtree(old, ignore_errors=True)
        try:
            self.save(partial)
            partial.rename(folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise InfrastructureError(f"cannot write the policy {folder}: {error}; free some disk space") from error


def load_trainable(path: str, config: Config) -> Policy:
    """The policy at `path` made ready for training as `config` says: whole, or frozen under adapters.

    An adapter's folder goes on as that adapter; without `lora.rank` it is merged and all weights are trained. Its base
    is that of `model.path`, whatever a checkpoint names: it may have moved.

    Raises:
        UsageError: as for `load_policy`, and for a `[lora]` that does not fit the model or its adapter.
    """
    base = base_of(resolve_model(config.model.path))
    base = str(Path(base).absolute()) if Path(base).exists() else base
    policy = load_policy(path, config.prompt, base=base)
    model = policy.model
    if config.lora.rank and lora.has_adapters(model):
        lora.train_adapters(model, config.lora)
    elif config.lora.rank:
        lora.add_adapters(model, config.lora, base=base, seed=config.run.seed)
    elif lora.has_adapters(model):
        lora.merge_adapters(model)
    checkpointing.set_up(model, config.train.gradient_checkpointing)
    return policy


def load_policy(path: str, prompt: PromptConfig, *, base: str | None = None) -> Policy:
    """Model and tokenizer of a folder (an adapter's too), a hub name or an alias. `base`: as for `load_any_model`.

    Raises:
        UsageError: no such model, no weights, not a causal language model, or a tokenizer that does not serve.
    """
    return Policy(model=load_model(path, base=base), encoder=load_encoder(path, prompt))


def load_model(path: str, *, base: str | None = None) -> PreTrainedModel:
    """The model in evaluation mode (no dropout), weights in fp32. UsageError as for `load_policy`."""
    model = load_any_model(path, base=base)
    reasons = unusual_head(model)
    if reasons:
        raise UsageError(f"{path} cannot be trained here: {', '.join(reasons)}; choose a model with a plain head")
    return model


def load_any_model(path: str, *, base: str | None = None) -> PreTrainedModel:
    """As `load_model`, whatever its head: for sampling alone. `base`: where an adapter's is, None: where it says."""
    source = resolve_model(path)
    whole = (base or base_of(source)) if is_adapter(source) else source
    try:
        model = AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load a causal language model from {path}: {str(error).splitlines()[0]}") from error
    if is_adapter(source):
        lora.load_adapters(model, Path(source), base=whole)
    return model.eval()


def head_weight(model: PreTrainedModel) -> torch.Tensor:
    """The vocabulary projection (V, H); it may be the embedding itself."""
    return model.get_output_embeddings().weight


def unusual_head(model: PreTrainedModel) -> list[str]:
    """Why logits are more than hidden states times a matrix, if they are: the trainer counts on that."""
    head = model.get_output_embeddings()
    values = model.config.to_dict()
    reasons = [
        f"{key} = {values[key]}"
        for key, neutral in (("final_logit_softcapping", None), ("logit_scale", 1.0), ("logits_scaling", 1.0))
        if values.get(key, neutral) not in (neutral, None)
    ]
    if not isinstance(head, torch.nn.Linear) or head.bias is not None:
        reasons.append("its head is no plain matrix")
    return reasons


def load_encoder(path: str, prompt: PromptConfig) -> PromptEncoder:
    """The tokenizer as a PromptEncoder. UsageError if there is none, or no stop token or no template that is needed."""
    tokenizer = _load_tokenizer(path)
    if prompt.template == "chat" and not tokenizer.chat_template:
        raise UsageError(f'the tokenizer of {path} has no chat template; set prompt.template = "plain"')
    return PromptEncoder(tokenizer=tokenizer, template=prompt.template, max_tokens=prompt.max_tokens)


def load_eval_encoder(path: str, *, max_tokens: int) -> PromptEncoder:
    """The encoder for evaluation: texts are put verbatim, prompts may fill what `max_tokens` leaves of the model's
    length, and all stop tokens of its generation config end a completion.

    Raises UsageError for a model that is not there, and when `max_tokens` leaves nothing.
    """
    tokenizer = _load_tokenizer(path)
    source = base_of(resolve_model(path))
    try:
        length = AutoConfig.from_pretrained(source).to_dict().get("max_position_embeddings") or _UNKNOWN_LENGTH
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the config of {path}: {str(error).splitlines()[0]}") from error
    if length <= max_tokens:
        raise UsageError(f"{path} takes {length} tokens in all, prompt included; lower --max-tokens from {max_tokens}")
    try:
        stops = GenerationConfig.from_pretrained(source).eos_token_id
    except OSError:  # a base model often has none
        stops = None
    more = tuple(stops) if isinstance(stops, list) else () if stops is None else (stops,)
    return PromptEncoder(tokenizer=tokenizer, template="verbatim", max_tokens=length - max_tokens, more_stop_ids=more)


def _load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    source, how = light_source(path)
    if is_adapter(source) and not (Path(source) / "tokenizer_config.json").is_file():
        source = base_of(source)  # peft itself writes none beside an adapter
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **how)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load a tokenizer from {path}: {str(error).splitlines()[0]}") from error
    if tokenizer.eos_token_id is None:
        raise UsageError(f"the tokenizer of {path} has no eos token, so no completion could end; set one and save it")
    return tokenizer
