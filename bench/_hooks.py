"""TransformerLens' hooks beside ours, for tiny models of the architectures that it knows."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

D_MODEL, D_MLP, LAYERS, VOCABULARY = 16, 40, 3, 300
LAYER = 1  # the one that is compared

LLAMA: dict[str, Any] = {
    "hidden_size": D_MODEL, "intermediate_size": D_MLP, "num_hidden_layers": LAYERS,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
}  # fmt: skip
GPT: dict[str, Any] = {
    "n_embd": D_MODEL, "n_layer": LAYERS, "n_head": 2, "n_positions": 64, "rotary_dim": 4,
}  # fmt: skip
NEOX = {name: value for name, value in LLAMA.items() if name != "num_key_value_heads"}
GEMMA = {**LLAMA, "head_dim": 8, "sliding_window": 64}

# Sizes of each architecture, as transformers names it; after a slash, a variant of it.
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": GPT,
    "gptj": GPT,
    "gpt_neo": {
        "hidden_size": D_MODEL, "num_layers": LAYERS, "num_heads": 2,
        "attention_types": [[["global", "local", "global"], 1]], "max_position_embeddings": 64,
    },
    "gpt_bigcode": GPT,
    "codegen": {**GPT, "n_head": 4},
    "gpt_neox": NEOX,
    "gpt_neox/sequential": {**NEOX, "use_parallel_residual": False},
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": {**LLAMA, "head_dim": 8},
    "gemma": {**LLAMA, "head_dim": 8},
    "gemma2": {**GEMMA, "query_pre_attn_scalar": 8},
    "gemma3_text": {**GEMMA, "query_pre_attn_scalar": 8},
    "olmo": NEOX,
    "olmo2": NEOX,
    "olmo3": {**LLAMA, "pad_token_id": 0},
    "phi": NEOX,
    "phi3": {**LLAMA, "pad_token_id": 0},
    "opt": {
        "hidden_size": D_MODEL, "ffn_dim": D_MLP, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "max_position_embeddings": 64, "word_embed_proj_dim": D_MODEL,
    },
    "bloom": {"hidden_size": D_MODEL, "n_layer": LAYERS, "n_head": 2},
    "falcon": {"hidden_size": D_MODEL, "num_hidden_layers": LAYERS, "num_attention_heads": 2},
    "falcon/sequential": {
        "hidden_size": D_MODEL, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
        "parallel_attn": False,
    },
    "mpt": {"d_model": D_MODEL, "n_layers": LAYERS, "n_heads": 2, "max_seq_len": 64},
    "stablelm": LLAMA,
    "stablelm/parallel": {**LLAMA, "use_parallel_residual": True},
    "starcoder2": LLAMA,
    "cohere": LLAMA,
    "granite": {**LLAMA, "residual_multiplier": 0.5},
    "nemotron": {**LLAMA, "hidden_act": "relu2"},
    "smollm3": LLAMA,
    "glm4": {**LLAMA, "head_dim": 8, "pad_token_id": 0},
    "mixtral": {**LLAMA, "num_local_experts": 2, "num_experts_per_tok": 1},
}  # fmt: skip

# HookedTransformer has the configuration of these written out by name.
OFFICIAL = {
    "gemma": "google/gemma-2b",
    "gemma2": "google/gemma-2-2b",
    "gemma3_text": "google/gemma-3-1b-pt",
    "olmo": "allenai/OLMo-1B-hf",
    "olmo2": "allenai/OLMo-2-0425-1B",
}


@dataclass(frozen=True)
class HookCheck:
    """One hook of one library on one model: `right`, `wrong`, `refused` or `absent`.

    `absent`: the site is refused here, and TransformerLens has no such hook on this model either.
    """

    family: str
    library: str
    hook: str
    outcome: str
    detail: str = ""


def tiny_model(family: str) -> Any:
    """Return a model of an architecture with weights drawn at random, norms and biases too."""
    import transformers

    kind = family.partition("/")[0]
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None, "vocab_size": VOCABULARY}
    config = transformers.AutoConfig.for_model(kind, **{**ids, **FAMILIES[family]})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape))
    for name, parameter in model.named_parameters():
        if "norm" in name or "ln_" in name:  # so that a norm's weight cannot go unnoticed
            parameter.data.add_(0.5 * torch.rand(parameter.shape))
    return model.eval().requires_grad_(False)


def hooked_transformer(family: str, model: Any, folder: str, **processing: bool) -> Any:
    """Return TransformerLens' HookedTransformer with the same weights, processed as asked for."""
    import transformer_lens.loading_from_pretrained as loading

    config = model.config
    for name, value in {"n_ctx": 64, "partial_rotary_factor": 0.5}.items():
        if not hasattr(config, name):  # asked for by name, where transformers 5 renamed it
            setattr(config, name, value)
    # It would ask the hub for what is here already.
    with mock.patch.object(loading.AutoConfig, "from_pretrained", return_value=config):
        return _hooked_transformer(family.partition("/")[0], model, folder, processing)


def _hooked_transformer(kind: str, model: Any, folder: str, processing: dict[str, bool]) -> Any:
    import transformer_lens.loading_from_pretrained as loading
    from transformer_lens import HookedTransformer

    config = model.config
    if kind in OFFICIAL:
        cfg = loading.get_pretrained_model_config(OFFICIAL[kind], device="cpu")
        heads, head = config.num_attention_heads, getattr(config, "head_dim", None)
        head = head or config.hidden_size // heads
        sizes = {
            "d_model": config.hidden_size, "d_head": head, "n_heads": heads, "d_mlp": D_MLP,
            "tokenizer_name": None, "n_layers": LAYERS, "n_ctx": 64, "d_vocab": VOCABULARY,
            "d_vocab_out": VOCABULARY,
            "eps": config.rms_norm_eps if hasattr(config, "rms_norm_eps") else 1e-5,
            "rotary_dim": head, "attn_scale": 8**0.5, "window_size": 64,
            "n_key_value_heads": None if config.num_key_value_heads == heads
            else config.num_key_value_heads,
        }  # fmt: skip
        if kind == "gemma":
            sizes["act_fn"] = config.hidden_act  # HookedTransformer takes the exact GELU for it
        if hasattr(config, "rope_parameters") and "rope_theta" in config.rope_parameters:
            sizes["rotary_base"] = config.rope_parameters["rope_theta"]
        for name, value in sizes.items():
            setattr(cfg, name, value)
        if cfg.attn_types is not None:
            cfg.attn_types = cfg.attn_types[:LAYERS]
        folder = OFFICIAL[kind]
    else:
        cfg = loading.get_pretrained_model_config(folder, hf_cfg=config.to_dict(), device="cpu")
    state = loading.get_pretrained_state_dict(folder, cfg, model)
    made = HookedTransformer(cfg)
    folded = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases")
    made.load_and_process_state_dict(state, **(dict.fromkeys(folded, False) | processing))
    return made


def bridge(_: str, model: Any, folder: str) -> Any:
    """Return TransformerLens' TransformerBridge around the very model."""
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return TransformerBridge.boot_transformers(
        folder, device="cpu", hf_model=model, tokenizer=tokenizer
    )


LIBRARIES = {"HookedTransformer": hooked_transformer, "TransformerBridge": bridge}


def hook_checks(family: str) -> Iterator[HookCheck]:
    """Yield a check of each mapped hook of an architecture, in both classes of TransformerLens.

    Where a class does not know the architecture, or does not compute the same logits from the
    same weights, it says nothing about its hooks, and is passed over.
    """
    logging.getLogger("transformer_lens").setLevel(logging.CRITICAL)
    ids = torch.randint(1, VOCABULARY - 10, (2, 12), generator=torch.Generator().manual_seed(0))
    for library, make in LIBRARIES.items():
        with tempfile.TemporaryDirectory() as folder:
            model = tiny_model(family)
            _save(model, folder)
            expected = model(ids).logits
            try:
                other = make(family, model, folder)
                logits, cache = _with_cache(other, ids)
            except (ValueError, KeyError, AttributeError, NotImplementedError, RuntimeError):
                continue
            if not torch.allclose(logits, expected, atol=1e-4, rtol=1e-4):
                continue
            yield from _compared(family, library, cache, ids)


def _save(model: Any, folder: str) -> None:
    import transformers
    from tokenizers import Tokenizer, models

    model.save_pretrained(folder)
    vocabulary = {"<|endoftext|>": 0, **{f"t{i}": i for i in range(1, VOCABULARY)}}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token"), "<|endoftext|>")
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(
        folder
    )


def _with_cache(other: Any, ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    other.cfg.use_hook_mlp_in = True
    with torch.no_grad():
        logits, cache = other.run_with_cache(ids, remove_batch_dim=False)
    return logits, dict(cache.items())


def _compared(
    family: str, library: str, cache: dict[str, Tensor], ids: Tensor
) -> Iterator[HookCheck]:
    from autointerp.errors import SubjectError
    from autointerp.subjects.hooks import HOOKS, site_of_hook
    from autointerp.subjects.language_model import HookedLanguageModel
    from autointerp.units.in_memory import _Numbers

    attention = torch.ones_like(ids, dtype=torch.bool)
    for pattern in HOOKS:
        hook = pattern.replace(r"(\d+)", str(LAYER)).replace("\\", "")
        site, _ = site_of_hook(hook)
        assert site is not None
        theirs = cache.get(hook)
        model = tiny_model(family)
        try:
            ours = HookedLanguageModel(model, _Numbers(model), site).activations(ids, attention)
        except SubjectError as error:
            outcome = "absent" if theirs is None else "refused"
            yield HookCheck(family, library, hook, outcome, str(error))
            continue
        if theirs is None:
            continue  # this class has no such hook
        theirs = theirs.reshape(*ids.shape, -1).float()
        same = theirs.shape == ours.shape and torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)
        detail = "" if same else f"{site}: {tuple(ours.shape)} against {tuple(theirs.shape)}"
        if not same and theirs.shape == ours.shape:
            detail += f", off by {float((ours - theirs).abs().max()):.3g}"
        yield HookCheck(family, library, hook, "right" if same else "wrong", detail)
