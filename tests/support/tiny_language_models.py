"""Language models of about 20,000 parameters, built from their configurations; no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from autointerp.subjects.language_model import HookedLanguageModel

transformers = pytest.importorskip("transformers")

VOCABULARY, D_MODEL, D_MLP, LAYERS = 300, 16, 40, 3

LLAMA_LIKE: dict[str, Any] = {
    "hidden_size": D_MODEL,
    "intermediate_size": D_MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}
GEMMA_LIKE = {**LLAMA_LIKE, "head_dim": 8, "sliding_window": 64}
MIXTURE = {
    **LLAMA_LIKE,
    "num_local_experts": 2,
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": D_MLP,
    "shared_expert_intermediate_size": D_MLP,
    "decoder_sparse_step": 1,
}
GPT_LIKE: dict[str, Any] = {
    "n_embd": D_MODEL, "n_layer": LAYERS, "n_head": 2, "n_inner": D_MLP, "n_positions": 64,
    "rotary_dim": 4,
}  # fmt: skip

DENSE: dict[str, dict[str, Any]] = {
    "gpt2": GPT_LIKE,
    "gptj": GPT_LIKE,
    "codegen": {**GPT_LIKE, "n_head": 4},  # its projections are for 4 heads at least
    "gpt_bigcode": GPT_LIKE,
    "gpt_neo": {
        "hidden_size": D_MODEL, "num_layers": LAYERS, "num_heads": 2, "intermediate_size": D_MLP,
        "attention_types": [[["global", "local", "global"], 1]], "max_position_embeddings": 64,
    },
    "gpt_neox": LLAMA_LIKE,
    "llama": LLAMA_LIKE,
    "mistral": LLAMA_LIKE,
    "qwen2": LLAMA_LIKE,
    "qwen3": {**LLAMA_LIKE, "head_dim": 8},
    "gemma": {**LLAMA_LIKE, "head_dim": 8},
    "gemma2": GEMMA_LIKE,
    "gemma3_text": GEMMA_LIKE,
    "phi": LLAMA_LIKE,
    "phi3": {**LLAMA_LIKE, "pad_token_id": 0},
    "opt": {
        "hidden_size": D_MODEL, "ffn_dim": D_MLP, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "max_position_embeddings": 64, "word_embed_proj_dim": D_MODEL,
    },
    "bloom": {"hidden_size": 10, "n_layer": LAYERS, "n_head": 2},  # its MLP is 4 × as wide
    "falcon": {
        "hidden_size": D_MODEL, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
        "ffn_hidden_size": D_MLP,
    },
    "mpt": {"d_model": 10, "n_layers": LAYERS, "n_heads": 2, "max_seq_len": 64},
    "stablelm": LLAMA_LIKE,
    "olmo": LLAMA_LIKE,
    "olmo2": LLAMA_LIKE,
    "starcoder2": LLAMA_LIKE,
    "cohere": LLAMA_LIKE,
    "granite": LLAMA_LIKE,
    "nemotron": {**LLAMA_LIKE, "hidden_act": "relu2"},
    "smollm3": LLAMA_LIKE,
}  # fmt: skip
MIXTURES = {"mixtral": MIXTURE, "qwen2_moe": MIXTURE, "qwen3_moe": MIXTURE, "olmoe": MIXTURE}
# Some layers keep a state in place of keys and values, or beside them.
HYBRIDS: dict[str, dict[str, Any]] = {
    "lfm2": {**LLAMA_LIKE, "layer_types": ["conv", "full_attention", "conv"]},
    "falcon_h1": {
        **LLAMA_LIKE, "mamba_d_ssm": 16, "mamba_n_heads": 2, "mamba_d_head": 8, "mamba_d_state": 4,
    },
    "jamba": {
        **LLAMA_LIKE, "attn_layer_period": 3, "attn_layer_offset": 1, "num_experts": 1,
        "num_experts_per_tok": 1,
    },
    "mamba": {"hidden_size": D_MODEL, "num_hidden_layers": LAYERS, "state_size": 4},
}  # fmt: skip
RECTIFIED = {"opt", "nemotron"}


def tokenizer() -> Any:
    """A byte-level BPE whose BOS, EOS and padding are all id 0, as in Pythia."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 4,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(["the cat sat on the mat and the dog"] * 3, trainer)
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token"), "<|endoftext|>")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def built(kind: str, **extra: Any) -> Any:
    sizes = {**DENSE, **MIXTURES, **HYBRIDS}[kind]
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None, "vocab_size": VOCABULARY}
    config = transformers.AutoConfig.for_model(kind, **{**ids, **sizes, **extra})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():  # biases and norms must matter, too
        parameter.data.add_(0.1 * torch.randn(parameter.shape))
    return model


def saved(folder: Path, kind: str, **extra: Any) -> Path:
    """Write a model and its tokenizer, as `from_pretrained` reads them."""
    built(kind, **extra).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def hooked(model: Any, site: str) -> HookedLanguageModel:
    return HookedLanguageModel(model, tokenizer(), site, name="tiny")


def window(rows: int = 3, length: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids [rows, length] of words, and attention to all of them."""
    ids = torch.randint(
        1, VOCABULARY - 4, (rows, length), generator=torch.Generator().manual_seed(2)
    )
    return ids, torch.ones(rows, length, dtype=torch.bool)
