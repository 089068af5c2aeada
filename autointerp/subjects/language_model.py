"""Hugging Face causal language models, read and changed at one site through plain hooks.

Sites, for layer N from 0 (`at` in the code is the module that is hooked):

    layers.N.input             the residual stream before the layer
    layers.N.attention.heads   the heads' outputs side by side, before the output projection
    layers.N.attention         what attention writes: the output projection's output
    layers.N.attention.added   the same behind the norm that follows it in some models (Gemma 2,
                               OLMo 2): what attention adds to the residual stream
    layers.N.attention.normalised  the norm before the attention, without its weight
    layers.N.attention.module  what the attention's module returns: layers.N.attention, except where
                               it adds the residual stream by itself (BLOOM); likewise mlp.module
    layers.N.middle            the residual stream between attention and MLP
    layers.N.mlp.input         what the MLP reads
    layers.N.mlp.normalised    the norm before the MLP, without its weight
    layers.N.mlp.stream        the residual stream that this norm reads: `layers.N.middle`, or
                               `layers.N.input` where MLP and attention work side by side
    layers.N.mlp.neurons       post-activation: the input of the MLP's down projection, which in a
                               gated MLP is act(gate)·up
    layers.N.mlp               what the MLP writes: the down projection's output, before any norm
    layers.N.mlp.added         the same behind the norm that follows it in some models
    layers.N.residual          the residual stream after the layer
    any.module.path            that module's output; with `.input` at the end, its input
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import hashlib
import importlib.util
import inspect
import io
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from autointerp.errors import SubjectError, install_hint
from autointerp.subjects.flow import LayerFlow, fake_mode, layer_flow, normalised
from autointerp.subjects.hooks import probable_site
from autointerp.subjects.hub import no_copy, out_of_reach
from autointerp.subjects.interventions import Intervention
from autointerp.subjects.readout import Readout, Step, linear, norm
from autointerp.subjects.token_texts import TokenTexts, token_texts
from autointerp.text import count, is_control_token, without_surrogates

DOWN = ("down_proj", "dense_4h_to_h", "c_proj", "fc2", "fc_out", "w2", "dense_2")
MLPS = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe")
ATTENTIONS = ("self_attn", "attn", "attention", "self_attention", "linear_attn", "temporal_block")
ATTENTION_OUT = ("o_proj", "out_proj", "c_proj", "dense", "wo", "attn_out")
FINAL_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm", "norm_f", "final_norm")
# Norms that stand between what a part writes and the residual stream.
AFTER_MLP = ("post_feedforward_layernorm", "post_mlp_layernorm")
AFTER_ATTENTION = ("post_self_attn_layernorm", "post_attention_layernorm")
NOT_NEGATIVE = {"relu", "relu2", "relu6", "relu_squared", "sigmoid"}
CONTEXTS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
PARTS = (
    "input", "attention.heads", "attention", "attention.added", "middle", "mlp.input",
    "mlp.neurons", "mlp", "mlp.added", "residual",
)  # fmt: skip
# Those that are rarely meant, and so are not proposed.
MORE_PARTS = (
    "attention.normalised", "attention.module", "mlp.normalised", "mlp.stream", "mlp.module",
)  # fmt: skip
# Where a unit can be set: all that reads these sees the change.
CHANGEABLE = (
    "residual", "input", "mlp.neurons", "mlp", "mlp.added", "mlp.module", "mlp.input",
    "attention.heads", "attention", "attention.added", "attention.module",
)  # fmt: skip
# Of a configuration: what the parts of a layer write is multiplied by it on its way to the stream.
ADDED_SCALES = ("residual_multiplier", "scale_depth")

ANY_PART = "|".join(map(re.escape, (*PARTS, *MORE_PARTS)))


@dataclass(frozen=True)
class Site:
    """A place in the model: a module, and which of its input and output.

    Attributes:
        normalises: The module is a norm, and the place is inside it: its input, normalised, before
            the weight.
    """

    name: str
    path: str
    module: nn.Module
    reads_input: bool
    normalises: bool = False


class _Reached(Exception):
    """Raised by the hook: the site is computed, the rest of the model is not needed."""


class HookedLanguageModel:
    """A causal language model and one site in it.

    Attributes:
        model: The Hugging Face model, in evaluation mode.
        tokenizer: Its tokenizer.
        name: Hub id or folder.
        site: Where it is read.
        d_site: Width of the site, in activations.
        signed: Whether the site's activations can be negative.
        hidden: The same model read at the hidden neurons of the site's layer, where they are
            wanted beside it (`None`: where there are any); `with_hidden` then gives both.
        absent: Weights of the unembedding that its files lack, so that they are random here.
        notes: What a person should know of its files, a sentence each.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        site: str,
        name: str = "",
        hidden: bool | None = False,
        absent: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.absent = frozenset(absent)
        self.notes = tuple(notes)
        if not hasattr(model, "config") or not hasattr(model, "get_input_embeddings"):
            raise SubjectError(
                f"{type(model).__name__} is not a model; give a Hugging Face causal LM"
            )
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name or str(getattr(model.config, "name_or_path", "")) or type(model).__name__
        _check_alone(self.name, model.config)
        self.config = _text_config(model.config)
        self.layers_path, self.layers = _layers(model, self.config)
        self._inner = _inner(model, self.layers_path)  # where a layer's norms are looked for
        self._at = self._find(site)
        self.site = self._at.name
        self._inner = _inner(model, self._at.path)
        self._kept: tuple[tuple[str | int, ...], Any] | None = None
        self._measure()
        self.hidden: HookedLanguageModel | None = None
        if hidden:
            self.hidden = self._hidden()
        elif hidden is None:
            with contextlib.suppress(SubjectError):
                self.hidden = self._hidden()

    def _measure(self) -> None:
        probe = torch.zeros(1, 2, dtype=torch.long)
        self.d_site = self.activations(probe, probe == 0).shape[-1]
        self.signed = not (self.site.endswith(".mlp.neurons") and self._rectifies())

    def _hidden(self) -> HookedLanguageModel:
        """Return this model read at the hidden neurons of the site's layer.

        Raises SubjectError if the site is in no layer, or is these neurons, or they are not found.
        """
        layer = re.match(rf"{re.escape(self.layers_path)}\.(\d+)", self._at.path)
        if layer is None:
            raise SubjectError(
                f"site '{self.site}' is in none of the layers of {self.name}, so it has no hidden "
                "neurons; leave subject.neurons out"
            )
        hidden = copy.copy(self)
        hidden.hidden = None
        hidden._at = self._find(f"layers.{layer[1]}.mlp.neurons")
        hidden.site = hidden._at.name
        if hidden._place(hidden._at) == self._place(self._at):
            raise SubjectError(
                f"site '{self.site}' is the hidden neurons already; leave subject.neurons out"
            )
        hidden._measure()
        return hidden

    def elsewhere(self, site: str, hidden: bool = False) -> HookedLanguageModel:
        """Return the same model, its weights shared, read at another site.

        Raises SubjectError if there is no such site, or it has no hidden neurons that are wanted.
        """
        other = copy.copy(self)
        other.hidden = None
        other._inner = _inner(self.model, self.layers_path)
        other._at = other._find(site)
        other.site = other._at.name
        other._inner = _inner(self.model, other._at.path)
        other._measure()
        if hidden:
            other.hidden = other._hidden()
        return other

    @property
    def device(self) -> torch.device:
        """The device of the embedding, where token ids have to be."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight.device

    @property
    def vocabulary(self) -> int:
        """The number of rows of the embedding, which may exceed the tokenizer's tokens."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def context_length(self) -> int:
        """The longest window in tokens, BOS included; 2048 where the configuration says nothing."""
        for name in CONTEXTS:
            value = getattr(self.config, name, None)
            if isinstance(value, int) and value > 0:
                return value
        return 2048

    @property
    def bos(self) -> int | None:
        """The id of BOS, with which windows begin (may be 0), or None where the model has none.

        The tokenizer's; else the one that it puts before a text; else, where its files say nothing
        of BOS, as a tokenizer.json alone, that of the model's configuration.
        """
        bos_id = getattr(self.tokenizer, "bos_token_id", None)
        if bos_id is None and callable(self.tokenizer):
            bos_id = self._put_before_a_text()
        if bos_id is None and not self.tokenizer_says_bos:
            given = getattr(self.config, "bos_token_id", None)
            bos_id = given if isinstance(given, int) and 0 <= given < self.vocabulary else None
        return None if bos_id is None else int(bos_id)

    @property
    def tokenizer_says_bos(self) -> bool:
        """Whether the tokenizer says which token is BOS, or that none is."""
        said = getattr(self.tokenizer, "init_kwargs", None)
        if not isinstance(said, dict) or "bos_token" in said:
            return True
        return self.tokenizer.bos_token_id is not None or self._put_before_a_text() is not None

    def _put_before_a_text(self) -> int | None:
        """Return the one token that the tokenizer puts before a text; None for none or several."""
        bare: list[int] = self.tokenise(["a"])[0]
        ids: list[int] = self.tokenizer(["a"], verbose=False)["input_ids"][0]
        return ids[0] if bare and len(ids) > len(bare) and ids[1 : 1 + len(bare)] == bare else None

    @property
    def pad(self) -> int:
        """The id that fills rows up; any id will do, because the attention mask hides it."""
        for name in ("pad_token_id", "eos_token_id", "bos_token_id"):
            pad_id = getattr(self.tokenizer, name, None)
            if isinstance(pad_id, int):
                return pad_id
        return 0

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids that stand for no text and are never a firing token; may include 0."""
        ids = {int(index) for index in self.tokenizer.all_special_ids}
        for config in (self.config, getattr(self.model, "generation_config", None)):
            for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
                value: Any = getattr(config, name, None)
                several = value if isinstance(value, (list, tuple)) else [value]
                ids.update(index for index in several if isinstance(index, int))
        # Some vocabularies hold control tokens that they do not call special.
        ids.update(i for i, text in enumerate(self.token_texts) if is_control_token(text))
        return frozenset(index for index in ids if 0 <= index < self.vocabulary)

    @cached_property
    def token_texts(self) -> TokenTexts:
        """The text of each token id, as many as the model's vocabulary."""
        return token_texts(self.tokenizer, self.vocabulary)

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, without special tokens.

        U+FFFD stands in for lone surrogates, as scraped text has them.
        """
        texts = [without_surrogates(text) for text in texts]
        encoded = self.tokenizer(texts, add_special_tokens=False, verbose=False)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    @cached_property
    def digest(self) -> str:
        """The sha256 of the configuration and of up to 1,024 values of each weight tensor.

        Cheap for any size, and the same wherever the weights are; weights that are not loaded
        (offloaded to disk) count by name and shape.
        """
        config = {k: v for k, v in self.model.config.to_dict().items() if k[0] != "_"}
        for key in ("transformers_version", "name_or_path"):
            config.pop(key, None)
        digest = hashlib.sha256(repr(sorted(config.items(), key=lambda p: p[0])).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            if name in self.absent:
                continue
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            if tensor.device.type != "meta":
                flat = tensor.reshape(-1)
                some = flat[:: max(1, len(flat) // 1024)][:1024]
                digest.update(some.double().cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def activations(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Return the site's activations [rows, tokens, d_site], float32; 0 on padding.

        `attention` [rows, tokens] is False on padding, which may stand on either side. Nothing
        after the site is computed.
        """
        (at_site,) = self._read(ids, attention, [self._at])
        return at_site

    @torch.no_grad()
    def with_hidden(self, ids: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Return the activations of the site and of the hidden neurons, from one forward pass."""
        assert self.hidden is not None
        at_site, hidden = self._read(ids, attention, [self._at, self.hidden._at])
        return at_site, hidden

    @torch.no_grad()
    def at_all(
        self, others: Sequence[HookedLanguageModel], ids: Tensor, attention: Tensor
    ) -> list[Tensor]:
        """Return the activations of `others`, the same model at other sites, from one forward pass.

        A site may be named several times.
        """
        reader = self
        if any(other._inner is not self._inner for other in others):
            reader = copy.copy(self)
            reader._inner = self.model  # one of the sites is outside of what holds the layers
        places = {other.site: other._at for other in others}
        read = dict(zip(places, reader._read(ids, attention, [*places.values()]), strict=True))
        return [read[other.site] for other in others]

    @torch.no_grad()
    def activations_behind(self, before: Tensor, ids: Tensor) -> Tensor:
        """Return the site's activations [rows, tokens, d_site] in ids [rows, tokens] without
        padding, of which each row stands behind the text `before` [tokens].

        Keys and values of that text are computed once and kept for the next call.
        """
        kept = self._keys_and_values(before)
        if kept is None:
            whole = torch.cat([before.expand(len(ids), -1), ids], dim=1)
            return self.activations(whole, torch.ones_like(whole, dtype=torch.bool))[
                :, len(before) :
            ]
        kept = copy.deepcopy(kept)
        kept.batch_repeat_interleave(len(ids))
        (at_site,) = self._read(ids, torch.ones_like(ids, dtype=torch.bool), [self._at], kept)
        return at_site

    def _keys_and_values(self, before: Tensor) -> Any:
        """Return a cache of the text up to the site; None where there is none that would do."""
        from transformers import cache_utils

        text = self.site, *before.tolist()
        if not len(before):
            return None
        if self._kept is None or self._kept[0] != text:
            cache = cache_utils.DynamicCache(config=self.model.config)
            if not keeps_no_state(cache):  # some models take no such cache
                self._kept = text, None
                return None
            rows = before[None]
            self._read(rows, torch.ones_like(rows, dtype=torch.bool), [self._at], cache)
            self._kept = text, cache if keeps_all(cache, len(before)) else None
        return self._kept[1]

    def _read(
        self, ids: Tensor, attention: Tensor, sites: Sequence[Site], kept: Any = None
    ) -> list[Tensor]:
        """Return the activations of sites; what comes after the last of them is not computed.

        `kept`: a cache, which may hold what stands before these ids, and gets theirs, too.
        """
        caught: dict[int, Tensor] = {}

        def catcher(number: int) -> Intervention:
            def catch(value: Tensor) -> Tensor:
                caught.setdefault(number, value)
                if len(caught) == len(sites):
                    raise _Reached
                return value

            return catch

        arguments = self._arguments(ids, attention)
        if kept is not None:
            length = kept.get_seq_length()
            ahead = torch.ones(len(ids), length, dtype=torch.long, device=self.device)
            arguments["attention_mask"] = torch.cat([ahead, arguments["attention_mask"]], dim=1)
            if "position_ids" in arguments:
                arguments["position_ids"] = arguments["position_ids"] + length
            arguments |= {"use_cache": True, "past_key_values": kept}
        handles = [self._hook(catcher(number), at) for number, at in enumerate(sites)]
        try:
            self._inner(**arguments)
        except _Reached:
            pass
        finally:
            for handle in handles:
                handle.remove()
        for number, at in enumerate(sites):
            if number not in caught:
                raise SubjectError(
                    f"site '{at.name}' is not reached by {self.name}'s forward pass; "
                    "choose another site"
                )
            shape = tuple(caught[number].shape)
            if len(shape) > 2 and shape[:2] != tuple(ids.shape):
                raise SubjectError(
                    f"site '{at.name}' of {self.name} has activations {shape} for {len(ids)} rows "
                    f"of {ids.shape[1]} tokens, not [rows, tokens, width]; choose another site"
                )
        values = [caught[number].reshape(*ids.shape, -1).float() for number in range(len(sites))]
        values = [
            normalised(at.module)(value) if at.normalises else value
            for at, value in zip(sites, values, strict=True)
        ]
        return [v.masked_fill(~attention.to(v.device)[..., None], 0.0) for v in values]

    def check_changeable(self) -> None:
        """Raise SubjectError if what is put at the site does not reach all that reads it.

        What a norm reads is the residual stream, but what is put there the norm alone sees.
        """
        try:
            _, part = self._layer_and_part()
        except SubjectError:
            part = ""
        is_layer = any(self._at.module is layer for layer in self.layers)
        if part not in CHANGEABLE or (part in {"input", "residual"} and not is_layer):
            raise SubjectError(
                f"{self.site} of {self.name} is no site at which a unit can be set; units of "
                f"layers.N.{', '.join(CHANGEABLE)} can"
            )

    @torch.no_grad()
    def logits(
        self, ids: Tensor, attention: Tensor, intervention: Intervention | None = None
    ) -> Tensor:
        """Return next-token logits [rows, tokens, vocabulary], float32.

        `intervention` gets the site's activations [rows, tokens, d_site] in float32 and returns
        what takes their place; add the SAE's error term back in it, if an SAE made it.

        Raises SubjectError for an intervention inside a norm, where nothing can be put in place.
        """
        return self.differentiable_logits(ids, attention, intervention)

    def differentiable_logits(
        self, ids: Tensor, attention: Tensor, intervention: Intervention | None = None
    ) -> Tensor:
        """Return what `logits` does, with gradients where they are asked for."""
        if intervention is not None and self._at.normalises:
            raise SubjectError(
                f"{self.site} of {self.name} is inside a norm, where nothing can be changed; "
                "choose the site before or after it"
            )

        arguments = self._arguments(ids, attention)
        self._require_head()
        out = self._changed(arguments, intervention)
        logits: Tensor = out.logits
        return logits.float()

    @torch.no_grad()
    def next_logits(
        self, ids: Tensor, kept: object = None, intervention: Intervention | None = None
    ) -> tuple[Tensor, object]:
        """Return the logits [rows, vocabulary] behind ids [rows, tokens] without padding, and the
        keys and values of these, which spare them in a later call; None where there are none.
        """
        self._require_head()
        length = getattr(kept, "get_seq_length", int)()
        arguments = self._arguments(ids, torch.ones_like(ids, dtype=torch.bool))
        for name in {"input_ids", "position_ids"} & arguments.keys():
            arguments[name] = arguments[name][:, length:]
        arguments |= {"use_cache": True, "past_key_values": kept if length else None}
        if "logits_to_keep" in inspect.signature(self.model.forward).parameters:
            arguments["logits_to_keep"] = 1
        out = self._changed(arguments, intervention)
        logits: Tensor = out.logits[:, -1]
        cache = getattr(out, "past_key_values", None)
        return logits.float(), cache if keeps_all(cache, ids.shape[1]) else None

    def _require_head(self) -> None:
        """Raise SubjectError if the files lack the unembedding, so that there are no logits."""
        if self.absent:
            raise SubjectError(
                f"the files of {self.name} have no unembedding ({', '.join(sorted(self.absent))}), "
                "so its logits are not known; fetch the causal language model with its head"
            )

    def _changed(self, arguments: dict[str, Any], intervention: Intervention | None) -> Any:
        """Return what the model gives, with the site as the intervention makes it."""
        shape = arguments["input_ids"].shape

        def change(value: Tensor) -> Tensor:
            assert intervention is not None
            changed = intervention(value.reshape(*shape, -1).float())
            return changed.to(value.dtype).reshape(value.shape)

        handle = self._hook(change, self._at) if intervention is not None else None
        try:
            if "position_ids" not in inspect.signature(self.model.forward).parameters:
                arguments.pop("position_ids", None)
            return self.model(**arguments)
        finally:
            if handle is not None:
                handle.remove()

    def readout(self, transcodes: bool = False, writes: str | None = None) -> Readout:
        """Return the direct path to the logits from the site, or from what a transcoder that
        reads the site writes: what the MLP would, or what it adds to the residual stream, behind
        the norm that follows it, where `writes` is `layers.N.mlp.added`.

        Raises SubjectError if the site does not write into the residual stream, or the final norm
        or the unembedding is not found.
        """
        self._require_head()
        number, part = self._layer_and_part()
        reads_mlp_in = part in {"mlp.input", "mlp.normalised", "mlp.stream"}
        if transcodes and not reads_mlp_in:
            raise SubjectError(
                f"a transcoder at {self.site} of {self.name}: what it writes is defined "
                "only for one that reads layers.N.mlp.input; choose that site"
            )
        if part == "attention.normalised":
            raise SubjectError(
                f"{self.site} of {self.name} is what the attention reads, not written into the "
                "residual stream: its directions have no direct effect on the logits"
            )
        if reads_mlp_in and not transcodes:
            raise SubjectError(
                f"{self.site} of {self.name} is what the MLP reads, not written into the residual "
                "stream: its directions have no direct effect on the logits"
            )
        hidden = int(self.config.hidden_size)
        head = self.model.get_output_embeddings()
        parent = self.model.get_submodule(self.layers_path.rpartition(".")[0])
        norms = [m for n in FINAL_NORMS if isinstance(m := getattr(parent, n, None), nn.Module)]
        if len(norms) != 1 or head is None:
            lack = "unembedding" if head is None else "final norm"
            raise SubjectError(f"no {lack} is found in {self.name}, so no effects on its logits")
        steps: list[Step] = []
        projects = part in {"mlp.neurons", "attention.heads"}
        if projects:
            steps.append(linear(self._at.module))
        written = "mlp.added" if transcodes and str(writes).endswith(".mlp.added") else part
        steps += [norm(module, hidden) for module in self._norms_after(number, written)]
        steps.append(norm(norms[0], hidden))
        if isinstance(out := getattr(parent, "project_out", None), nn.Module):
            steps.append(linear(out))
        return Readout(self.d_site if projects else hidden, (*steps, linear(head)))

    def _layer_and_part(self) -> tuple[int, str]:
        """Return which layer's which part the site is, by whatever name it was given.

        Raises SubjectError if it is none that writes into the residual stream or is read from it.
        """
        inside = re.match(rf"{re.escape(self.layers_path)}\.(\d+)(?:\.(\w+))?", self._at.path)
        if named := re.fullmatch(rf"layers\.(\d+)\.({ANY_PART})", self.site):
            return int(named[1]), named[2]
        for part in (*PARTS, *MORE_PARTS) if inside else ():
            with contextlib.suppress(SubjectError):
                assert inside is not None
                if self.is_at(f"layers.{inside[1]}.{part}"):
                    return int(inside[1]), part
        is_module = inside is not None and self._at.path == inside[0] and not self._at.reads_input
        for part, names in (("mlp", MLPS), ("attention", ATTENTIONS)):
            if inside is not None and is_module and inside[2] in names:
                return int(inside[1]), part
        raise SubjectError(
            f"no path from {self.site} of {self.name} to the logits is defined; choose one "
            f"of {', '.join(PARTS)} of a layer"
        )

    def _norms_after(self, number: int, part: str) -> list[nn.Module]:
        """Return the norm through which a part of a layer writes, where there is one.

        `post_attention_layernorm` is that only beside a norm after the MLP; else it is the norm
        before the MLP.
        """
        layer = self.layers[number]
        after_mlp = [m for n in AFTER_MLP if isinstance(m := getattr(layer, n, None), nn.Module)]
        if not after_mlp or part in {"input", "middle", "residual"} or part.endswith(".added"):
            return []
        if part.startswith("mlp"):
            return after_mlp[:1]
        return [m for n in AFTER_ATTENTION if isinstance(m := getattr(layer, n, None), nn.Module)][
            :1
        ]

    def is_at(self, site: str) -> bool:
        """Return whether `site` names the place that is read, perhaps by another name.

        What a layer leaves in the residual stream is what the next one finds there.
        """
        try:
            other = self._find(site)
        except SubjectError:
            return False
        return self._place(other) == self._place(self._at)

    def name_of(self, site: str) -> str:
        """Return the name that a site has in this model, or the one given where it is none."""
        try:
            return self._find(site).name
        except SubjectError:
            return site

    @property
    def has_layer_norms(self) -> bool:
        """Whether the norms that read the residual stream take away its mean over the axes."""
        flow, layer = self._flow(0), self.layers[0]
        path = flow.before_mlp or flow.before_attention
        return path is not None and "rms" not in type(layer.get_submodule(path)).__name__.lower()

    @property
    def is_in_stream(self) -> bool:
        """Whether the site is the residual stream, or what a layer's part adds to it."""
        try:
            _, part = self._layer_and_part()
        except SubjectError:
            return False
        written = ("input", "middle", "residual", "attention", "mlp", "mlp.stream")
        return part in written or part.endswith(".added")

    def _place(self, at: Site) -> tuple[str, bool, bool]:
        layers = list(self.layers)
        if at.reads_input and at.module in layers[1:]:
            return f"{self.layers_path}.{layers.index(at.module) - 1}", False, False
        for number, layer in enumerate(layers):
            prefix = f"{self.layers_path}.{number}."
            if at.path.startswith(prefix) and at.module is not layer and not at.normalises:
                return self._place_inside(at, number, at.path.removeprefix(prefix))
        return at.path, at.reads_input, at.normalises

    def _place_inside(self, at: Site, number: int, path: str) -> tuple[str, bool, bool]:
        """Return one name for what two modules of a layer share: a norm's output, read by another.

        Also for what both MLP and attention read.
        """
        layer = f"{self.layers_path}.{number}"
        flow = self._flow(number)
        if not at.reads_input:
            mlp = self._mlp_block(self.layers[number])
            if mlp is not None and path == flow.before_mlp:
                return f"{layer}.{mlp}", True, False
            return at.path, False, False
        if path == flow.before_mlp and flow.parallel:
            return self._place(Site("", layer, self.layers[number], True))
        if path == flow.before_attention:
            return self._place(Site("", layer, self.layers[number], True))
        return at.path, True, False

    @lru_cache  # noqa: B019 (as long as the model: one entry a layer that was asked for)
    def _flow(self, number: int) -> LayerFlow:
        """Return the norms of a layer, found in a forward pass over two tokens."""
        layer = self.layers[number]
        mlp_out = self._down_projection(layer)
        if _is_mixture(layer):
            mlp_out = self._mlp_block(layer)

        def run() -> None:
            def stop(*_: Any) -> None:
                raise _Reached

            handle = layer.register_forward_hook(stop)
            probe = torch.zeros(1, 2, dtype=torch.long)
            try:
                self._inner(**self._arguments(probe, probe == 0))
            except _Reached:
                pass
            finally:
                handle.remove()

        with torch.no_grad(), fake_mode(self.model):
            return layer_flow(
                run,
                layer,
                mlp=self._mlp_block(layer),
                mlp_out=mlp_out,
                attention=self._attention(layer),
                attention_out=_one(layer, ATTENTION_OUT, inside=ATTENTIONS),
            )

    def _mlp_block(self, layer: nn.Module) -> str | None:
        """Return the path of the MLP in a layer, or of the first projection where it has none."""
        block = next((name for name in MLPS if hasattr(layer, name)), None)
        return block or _one(layer, ("fc1",))

    def _attention(self, layer: nn.Module) -> str | None:
        return next((name for name in ATTENTIONS if hasattr(layer, name)), None)

    def _down_projection(self, layer: nn.Module) -> str | None:
        return _one(layer, DOWN, outside=ATTENTIONS)

    def check_width(self, d_in: int, what: str = "the SAE") -> None:
        """Raise SubjectError if an SAE of inputs [d_in] does not fit the site."""
        if d_in != self.d_site:
            raise SubjectError(
                f"{what} reads {d_in} activations, {self.site} of {self.name} has {self.d_site}; "
                f"its sites are {', '.join(self.sites)}"
            )

    @property
    def sites(self) -> list[str]:
        """The names of the model's sites, with one name for all layers."""
        last = len(self.layers) - 1
        return [f"layers.0–{last}.{part}" for part in PARTS] + ["a module path"]

    def _arguments(self, ids: Tensor, attention: Tensor) -> dict[str, Any]:
        ids, attention = ids.to(self.device), attention.to(self.device)
        arguments: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": attention.long(),
            "use_cache": False,
        }
        if "position_ids" in inspect.signature(self._inner.forward).parameters:
            # Counted from the first token that is not padding, on whichever side padding stands.
            arguments["position_ids"] = (attention.long().cumsum(1) - 1).clamp_min(0)
        return arguments

    def _hook(self, act: Callable[[Tensor], Tensor], at: Site) -> Any:
        """Call `act` with a site's tensor; what it returns takes the tensor's place."""

        def changed(value: Any) -> Any:
            if isinstance(value, tuple):
                return (act(value[0]), *value[1:])
            if isinstance(value, list):
                return [act(value[0]), *value[1:]]
            return act(value)

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (act(args[0]), *args[1:]), kwargs
            name = "hidden_states" if "hidden_states" in kwargs else next(iter(kwargs))
            return args, {**kwargs, name: act(kwargs[name])}

        def after(_: nn.Module, __: Any, output: Any) -> Any:
            return changed(output)

        if at.reads_input:
            return at.module.register_forward_pre_hook(before, with_kwargs=True)
        return at.module.register_forward_hook(after)

    def _find(self, site: str) -> Site:
        """Return the module that a site names. Raises SubjectError listing what there is."""
        match = re.fullmatch(rf"layers\.(\d+)\.({ANY_PART})", site)
        if not match:
            return self._raw(site)
        number, part = int(match[1]), match[2]
        if number >= len(self.layers):
            raise SubjectError(f"site '{site}': {self.name} has layers 0 to {len(self.layers) - 1}")
        layer = self.layers[number]
        prefix = f"{self.layers_path}.{number}"
        if part in {"input", "residual"}:
            return Site(site, prefix, layer, part == "input")
        if part.endswith((".added", ".module", ".normalised", ".stream")) or part == "middle":
            return self._by_flow(site, number, part)
        if part.startswith("attention"):
            path = _one(layer, ATTENTION_OUT, inside=ATTENTIONS)
            if path is None:
                raise SubjectError(self._without(site, layer, "attention output projection"))
            module = layer.get_submodule(path)
            return Site(site, f"{prefix}.{path}", module, part == "attention.heads")
        block = next((name for name in MLPS if hasattr(layer, name)), None)
        path = self._down_projection(layer)
        if _is_mixture(layer):
            if part == "mlp.neurons" or block is None:
                raise SubjectError(
                    f"site '{site}': layer {number} of {self.name} is a mixture of experts, whose "
                    f"neurons fire only where their expert is chosen; use layers.{number}.mlp, or "
                    "the module path of one dense part"
                )
            return Site(site, f"{prefix}.{block}", getattr(layer, block), part == "mlp.input")
        if part == "mlp.input":
            path = self._mlp_block(layer)
        if path is None:
            raise SubjectError(self._without(site, layer, "down projection"))
        return Site(site, f"{prefix}.{path}", layer.get_submodule(path), part != "mlp")

    def _by_flow(self, site: str, number: int, part: str) -> Site:
        """Return a place that is defined by where the layer's norms stand.

        It has the plainer name where that is the same: `layers.N.mlp` for `layers.N.mlp.added`
        where no norm follows the MLP.
        """
        flow, layer = self._flow(number), self.layers[number]
        prefix = f"layers.{number}"

        def at(path: str, name: str, reads_input: bool = False, normalises: bool = False) -> Site:
            module = layer.get_submodule(path)
            return Site(
                name, f"{self.layers_path}.{number}.{path}", module, reads_input, normalises
            )

        whole, _, what = part.partition(".")
        if what == "added":
            scale = next((n for n in ADDED_SCALES if hasattr(self.config, n)), None)
            if scale and getattr(self.config, scale) != 1:
                raise SubjectError(
                    f"site '{site}': {self.name} multiplies what the {whole} writes "
                    f"({scale} = {getattr(self.config, scale)}) before it adds it, outside of any "
                    f"module; use {prefix}.{whole}, which is before that"
                )
            after = flow.after_mlp if whole == "mlp" else flow.after_attention
            return at(after, site) if after else self._find(f"{prefix}.{whole}")
        if what == "module":
            blocks = MLPS if whole == "mlp" else ATTENTIONS
            module = next((name for name in blocks if hasattr(layer, name)), None)
            is_more = flow.mlp_adds if whole == "mlp" else flow.attention_adds
            if module is None or not is_more:
                return self._find(f"{prefix}.{whole}")
            return at(module, f"{self.layers_path}.{number}.{module}")
        if what == "normalised":
            before = flow.before_mlp if whole == "mlp" else flow.before_attention
            if before is None:
                raise SubjectError(
                    f"site '{site}': no norm stands before the {whole} of {self.name}: it reads "
                    "the residual stream itself, or stands behind a norm that is not a module"
                )
            normalised(layer.get_submodule(before))
            return at(before, site, reads_input=True, normalises=True)
        if flow.parallel:
            if part == "middle":
                raise SubjectError(
                    f"site '{site}': attention and MLP of {self.name} work side by side, so there "
                    f"is no residual stream between them; use {prefix}.input or {prefix}.residual"
                )
            return self._find(f"{prefix}.input")
        mlp = self._mlp_block(layer)
        if mlp is None or (flow.before_mlp is None and flow.after_mlp is None):
            raise SubjectError(self._without(site, layer, "norm before or after its MLP"))
        return at(flow.before_mlp or mlp, f"{prefix}.middle", reads_input=True)

    def _without(self, site: str, layer: nn.Module, what: str) -> str:
        inside = [name for name, module in layer.named_modules() if name and not any(
            True for _ in module.children())]  # fmt: skip
        return (
            f"site '{site}': {type(layer).__name__} has no {what}; give a module "
            f"path, such as {self.layers_path}.0.NAME with NAME of {', '.join(inside[:12])}"
        )

    def _raw(self, site: str) -> Site:
        modules = dict(self.model.named_modules())
        for ending in (".input", ".output", ""):
            path = self._here(site.removesuffix(ending) if ending else site, modules)
            if site.endswith(ending) and path in modules and path:
                return Site(site, path, modules[path], ending == ".input")
        if probable := probable_site(site):
            with contextlib.suppress(SubjectError):
                probable = self._find(probable).name
            raise SubjectError(
                f"site '{site}' is another library's name; give autointerp's, probably "
                f"'{probable}', the output or input of that module as Hugging Face computes it"
            )
        named = [f"layers.{n}.{part}" for n in range(len(self.layers)) for part in PARTS]
        close = difflib.get_close_matches(site, [*named, *modules], n=1)
        guess = f"; did you mean '{close[0]}'?" if close else ""
        raise SubjectError(
            f"no site '{site}' in {self.name}{guess} (sites: {', '.join(self.sites)})"
        )

    def _here(self, path: str, modules: dict[str, nn.Module]) -> str:
        """Return a module's path in this model, where its layers stand at another place.

        `model.layers.3.mlp` of a Gemma 3 for text is `model.language_model.layers.3.mlp` in one
        that sees images, too.
        """
        inside = re.fullmatch(r"(?:\w+\.)*layers\.(\d+)(\.[\w.]+)?", path)
        if path in modules or not inside or path.startswith("layers."):
            return path
        return f"{self.layers_path}.{inside[1]}{inside[2] or ''}"

    def _rectifies(self) -> bool:
        """Return whether the site's MLP has a rectifying activation and no gate."""
        names = ("hidden_act", "activation_function", "hidden_activation", "activation")
        name = next((v for n in names if isinstance(v := getattr(self.config, n, None), str)), "")
        layer_path = self._at.path.rsplit(".", 1)[0]
        gated = any(
            "gate" in child for child, _ in self.model.get_submodule(layer_path).named_modules()
        )
        return name in NOT_NEGATIVE and not gated


def keeps_all(cache: Any, tokens: int) -> bool:
    """Return whether a cache holds keys and values of so many tokens, and nothing else.

    A layer that keeps a state would not do: it is not repeated for several rows, and some models
    forget it where several tokens follow.
    """
    # A cache of states alone has no length.
    return keeps_no_state(cache) and getattr(cache, "get_seq_length", int)() == tokens


def keeps_no_state(cache: Any) -> bool:
    """Return whether no layer of a cache keeps anything else than keys and values."""
    from transformers import cache_utils

    return all(
        type(layer) in (cache_utils.DynamicLayer, cache_utils.DynamicSlidingWindowLayer)
        for layer in getattr(cache, "layers", ())
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
            _check_alone(name, AutoConfig.from_pretrained(place, **options))
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
        notes=_of_unused(loading_info["unexpected_keys"], model),
    )
    found.notes += _of_later_tokens(found)
    return found


def _check_alone(name: str, config: Any) -> None:
    """Raise SubjectError for an encoder-decoder, of which transformers would run the decoder alone,
    on nothing that an encoder wrote.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise SubjectError(
            f"model '{name}' of type '{config.model_type}' has an encoder, and its decoder reads "
            "what that writes; give a causal language model"
        )


LOOKS_AHEAD = 0.05  # share of a token's activations, far over the rounding of half precision


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


# Of layers' files, what an architecture computes by itself.
BUFFERS = re.compile(
    r"(\.|_)(inv_freq|masked_bias)$|\.(attn|attention|self_attn|self_attention)\.bias$"
)


def _of_unused(unexpected: Iterable[str], model: nn.Module) -> list[str]:
    """Return a note where the files have weights of layers that the model does not use."""
    path, _ = _layers(model, _text_config(model.config))
    unused = [k for k in sorted(unexpected) if k.startswith(f"{path}.") and not BUFFERS.search(k)]
    if not unused:
        return []
    return [
        f"{count(len(unused), 'weight')} in the model's files, such as {unused[0]}, "
        f"{'is' if len(unused) == 1 else 'are'} not used by {type(model).__name__}; see whether "
        "its config.json is that of these files"
    ]


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
        _check_alone(name, config)
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


def _text_config(config: Any) -> Any:
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _layers(model: nn.Module, config: Any) -> tuple[str, nn.ModuleList]:
    """Return the path and list of the decoder's layers."""
    names = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
    count = next((v for n in names if isinstance(v := getattr(config, n, None), int)), None)
    for path, module in model.named_modules():
        is_text = not re.search(r"vision|audio|image|encoder\.(?!layers)", path)
        if isinstance(module, nn.ModuleList) and is_text and len(module) == count:
            if path.rpartition(".")[2] == "attentions":  # XLM: a list of each part of the layers
                break
            return path, module
    raise SubjectError(
        f"{type(model).__name__} has no list of {count} layers: its architecture is not "
        "supported; give a Hugging Face causal LM"
    )


def _inner(model: nn.Module, path: str) -> nn.Module:
    """Return the part of the model without its head, if the site is in it."""
    prefix = str(getattr(model, "base_model_prefix", ""))
    inner = getattr(model, prefix, None) if prefix else None
    if isinstance(inner, nn.Module) and path.startswith(f"{prefix}."):
        return inner
    return model


def _one(
    layer: nn.Module,
    names: tuple[str, ...],
    inside: tuple[str, ...] = (),
    outside: tuple[str, ...] = (),
) -> str | None:
    """Return the path in `layer` of the only module so called, or None."""
    paths = []
    for path, _ in layer.named_modules():
        *parents, last = path.split(".")
        if inside and not any(parent in inside for parent in parents):
            continue
        if last in names and not any(parent in outside for parent in parents):
            paths.append(path)
    return paths[0] if len(paths) == 1 else None


def _is_mixture(layer: nn.Module) -> bool:
    return any(
        re.search(r"(^|\.)(experts|shared_experts?)(\.|$)", path)
        or re.search(r"Moe|MoE|Experts", type(module).__name__)
        for path, module in layer.named_modules()
        if path
    )
