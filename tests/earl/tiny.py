"""A tiny random Llama and a tokenizer made on the spot: what tests train instead of a real model."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_CORPUS = [
    "module TopModule ( input clk, input [7:0] a, output reg [7:0] y ); assign y = a & ~b; endmodule",
    "I would like you to implement a module named TopModule with the following interface.",
    "always @(posedge clk) begin if (reset) q <= 0; else q <= d; end",
]


def build_tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of 300 tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>")


def build_tiny_model(vocab_size: int, *, seed: int = 0) -> LlamaForCausalLM:
    """Two layers, grouped-query attention, tied embeddings."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():  # larger than the default, so that the model is far from uniform
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    return model
