"""Hugging Face causal language models by hub id, folder or GGUF file, with or without weights."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch._subclasses.fake_tensor import FakeTensorMode

from autointerp.errors import SubjectError, install_hint
from autointerp.subjects.architecture import check_alone
from autointerp.subjects.hub import no_copy, out_of_reach
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.text import count

LOOKS_AHEAD = 0.05  # share of a token's activations, far over the rounding of half precision
# Of layers' files, what an architecture computes by itself.
BUFFERS = re.compile(
    r"(\.|_)(inv_freq|masked_bias)$|\.(attn|attention|self_attn|self_attention)\.bias$"
)
# What transformers raises of files that are none of its own.
UNLOADABLE = (
    OSError,
    ValueError,
    LookupError,
    ImportError,
    RuntimeError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
)


def load_language_model(
    name: str,
    site: str,
    *,
    device: str = "cpu",
    dtype: str = "auto",
    device_map: str | None = None,
    revision: str | None = None,
    hidden: bool | None = False,
    trust_remote_code: bool = False,
) -> HookedLanguageModel:
    """Return a model by hub id, folder or GGUF file, ready to be read at `site`, with `hidden` at
    the hidden neurons of its layer too.

    `dtype` is a torch dtype's name or `auto` for that of the weights; `device_map` (`auto`, …)
    spreads a model over several devices and takes `device`'s place.

    Raises SubjectError if transformers is missing, there is no such model, or no such site.
    """
    try:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        raise _transformers_missing(name) from None
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise SubjectError(
            f"dtype '{dtype}' is not supported; give auto, float32, bfloat16 or float16"
        )
    if device.startswith("cuda") and not device_map and not torch.cuda.is_available():
        raise SubjectError(f"device '{device}': torch finds no CUDA device; give cpu")
    placed = {"device_map": device_map} if device_map else {}
    with _loading(name, revision, trust_remote_code) as options:
        place = options.pop("place")
        if "gguf_file" not in options:
            check_alone(name, AutoConfig.from_pretrained(place, **options))
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            place, dtype=dtype, output_loading_info=True, **options, **placed
        )
    model, loading_info = loaded
    # Of what the files lack transformers makes random numbers; a head alone is not used.
    body = f"{model.base_model_prefix}."
    lacking = sorted(key for key in loading_info["missing_keys"] if key.startswith(body))
    if lacking:
        raise SubjectError(
            f"cannot load model '{name}': its files lack {count(len(lacking), 'weight')}, such as "
            f"{lacking[0]}; fetch it again"
        )
    placed_model = model if device_map else cast(Any, model).to(device)
    found = HookedLanguageModel(
        placed_model,
        tokenizer,
        site,
        name,
        hidden,
        absent=loading_info["missing_keys"],
    )
    found.notes = (*_of_unused(loading_info["unexpected_keys"], found), *_of_later_tokens(found))
    return found


def look_at_language_model(
    name: str, site: str, revision: str | None = None, hidden: bool | None = False
) -> HookedLanguageModel:
    """Return a model by hub id or folder without its weights: enough to know its sites and widths.

    `hidden`: whether it is to be read at the hidden neurons, too; None for where it has any.

    Raises SubjectError as `load_language_model` does.
    """
    try:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        raise _transformers_missing(name) from None
    with _loading(name, revision) as options:
        place = options.pop("place")
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        config = AutoConfig.from_pretrained(place, **options)
        check_alone(name, config)
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level, log.level = log.level, logging.CRITICAL
    try:
        with FakeTensorMode():  # shapes without values
            try:
                model = AutoModelForCausalLM.from_config(config)
            except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
                kind = getattr(config, "model_type", "unknown")
                raise SubjectError(
                    f"model '{name}' of type '{kind}' is no causal language model of transformers "
                    f"({' '.join(str(error).split())[:120]}); give another --model"
                ) from None
            return HookedLanguageModel(model, tokenizer, site, name, hidden)
    except RuntimeError:  # a forward pass that looks at values, as some mixtures of experts do
        return load_language_model(name, site, revision=revision, hidden=hidden)
    finally:
        log.level = level


@contextlib.contextmanager
def _loading(
    name: str, revision: str | None, trust_remote_code: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the arguments of `from_pretrained`, and turn what it raises into one line.

    `place` among them is the first one; of a GGUF file it is the folder.

    Where the hub is out of reach, only what was fetched before is looked at: transformers would
    retry for a minute. Its tables of weights are kept off stderr, its bars where nobody sees them.
    """
    from transformers.utils import logging as log

    # Said in any case: where it is not said, transformers asks on standard input.
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if revision:
        options["revision"] = revision
    path = Path(name)
    is_gguf = path.suffix.lower() == ".gguf"
    if is_gguf and path.is_file():
        if importlib.util.find_spec("gguf") is None:
            raise SubjectError(f"model '{name}' needs gguf to be read: {install_hint('local')}")
        options |= {"place": str(path.parent), "gguf_file": path.name}
    elif is_gguf and not path.is_dir():
        raise SubjectError(f"no GGUF file at {name}; correct the path")
    else:
        options["place"] = name
    is_here = is_gguf or path.is_dir()
    unreachable = None if is_here else out_of_reach()
    if unreachable or is_gguf:
        options["local_files_only"] = True
    level, has_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.CRITICAL)
    if not sys.stderr.isatty():
        log.disable_progress_bar()
    # The bar of a GGUF file heeds no setting.
    hides = is_gguf and not sys.stderr.isatty()
    try:
        with contextlib.redirect_stderr(io.StringIO()) if hides else contextlib.nullcontext():
            yield options
    except SafetensorError as error:
        raise SubjectError(
            f"cannot load model '{name}': its weights are damaged or incomplete ({error}); fetch "
            "them again"
        ) from None
    except UNLOADABLE as error:
        if "trust_remote_code" in str(error) and not trust_remote_code:
            raise SubjectError(
                f"model '{name}' comes with Python code of its own, which is not run; if you trust "
                "it, write trust_remote_code = true under [subject] of the settings"
            ) from None
        if unreachable:
            raise SubjectError(f"cannot load model: {no_copy(name, unreachable)}") from None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if "ignore_mismatched_sizes" in reason:
            reason = "its weights are not of the sizes that config.json says; fetch it again"
        raise SubjectError(f"cannot load model '{name}': {reason}") from None
    finally:
        log.set_verbosity(level)
        if has_bars:
            log.enable_progress_bar()


def _transformers_missing(model: str) -> SubjectError:
    return SubjectError(f"model '{model}' needs transformers: {install_hint('models')}")


def _of_later_tokens(model: HookedLanguageModel) -> tuple[str, ...]:
    """Return a note where activations depend on tokens that come later."""
    ids = torch.arange(8).repeat(2, 1) % model.vocabulary
    ids[1, 4:] = ids[0, :4]
    one, two = model.activations(ids, torch.ones_like(ids, dtype=torch.bool))[:, :4]
    if not bool(((one - two).norm(dim=-1) > LOOKS_AHEAD * one.norm(dim=-1)).any()):
        return ()
    return (
        "activations of a token depend on the tokens behind it: this is no causal language model, "
        "which contexts, ablation and steering assume",
    )


def _of_unused(unexpected: Iterable[str], model: HookedLanguageModel) -> list[str]:
    """Return a note where the files have weights of layers that the model does not use."""
    path = model.architecture.layers_path
    unused = [k for k in sorted(unexpected) if k.startswith(f"{path}.") and not BUFFERS.search(k)]
    if not unused:
        return []
    return [
        f"{count(len(unused), 'weight')} in the model's files, such as {unused[0]}, "
        f"{'is' if len(unused) == 1 else 'are'} not used by {type(model.model).__name__}; see "
        "whether its config.json is that of these files"
    ]
