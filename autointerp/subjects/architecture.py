"""The layers of a Hugging Face causal language model, and the places in them by their names.

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
import difflib
import inspect
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from autointerp.errors import SubjectError
from autointerp.subjects.flow import LayerFlow, fake_mode, layer_flow, normalised
from autointerp.subjects.hooks import probable_site

DOWN = ("down_proj", "dense_4h_to_h", "c_proj", "fc2", "fc_out", "w2", "dense_2")
MLPS = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe")
ATTENTIONS = ("self_attn", "attn", "attention", "self_attention", "linear_attn", "temporal_block")
ATTENTION_OUT = ("o_proj", "out_proj", "c_proj", "dense", "wo", "attn_out")
# Norms that stand between what a part writes and the residual stream.
AFTER_MLP = ("post_feedforward_layernorm", "post_mlp_layernorm")
AFTER_ATTENTION = ("post_self_attn_layernorm", "post_attention_layernorm")
NOT_NEGATIVE = {"relu", "relu2", "relu6", "relu_squared", "sigmoid"}
PARTS = (
    "input", "attention.heads", "attention", "attention.added", "middle", "mlp.input",
    "mlp.neurons", "mlp", "mlp.added", "residual",
)  # fmt: skip
# Those that are rarely meant, and so are not proposed.
MORE_PARTS = (
    "attention.normalised", "attention.module", "mlp.normalised", "mlp.stream", "mlp.module",
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


class Reached(Exception):
    """Raised by the hook: the site is computed, the rest of the model is not needed."""


class Architecture:
    """Where a causal language model has its layers, and in them what its sites name.

    Attributes:
        model: The Hugging Face model.
        name: What a message calls it.
        config: The configuration of its language model, also where it sees images, too.
        layers_path: Path of the list of the decoder's layers.
        layers: That list.
    """

    def __init__(self, model: Any, name: str) -> None:
        """Raise SubjectError if it has no decoder's layers, or an encoder beside them."""
        check_alone(name, model.config)
        self.model = model
        self.name = name
        self.config = _text_config(model.config)
        self.layers_path, self.layers = _layers(model, self.config)
        self._inner = self.part_of(self.layers_path)  # where a layer's norms are looked for

    @property
    def device(self) -> torch.device:
        """The device of the embedding, where token ids have to be."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight.device

    def part_of(self, path: str) -> nn.Module:
        """Return the part of the model without its head, if `path` is in it; else the model."""
        prefix = str(getattr(self.model, "base_model_prefix", ""))
        inner = getattr(self.model, prefix, None) if prefix else None
        if isinstance(inner, nn.Module) and path.startswith(f"{prefix}."):
            return inner
        whole: nn.Module = self.model
        return whole

    def arguments(self, part: nn.Module, ids: Tensor, attention: Tensor) -> dict[str, Any]:
        """Return what a forward pass of the model, or of a part of it, is called with."""
        ids, attention = ids.to(self.device), attention.to(self.device)
        arguments: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": attention.long(),
            "use_cache": False,
        }
        if "position_ids" in inspect.signature(part.forward).parameters:
            # Counted from the first token that is not padding, on whichever side padding stands.
            arguments["position_ids"] = (attention.long().cumsum(1) - 1).clamp_min(0)
        return arguments

    @property
    def sites(self) -> list[str]:
        """The names of the model's sites, with one name for all layers."""
        last = len(self.layers) - 1
        return [f"layers.0–{last}.{part}" for part in PARTS] + ["a module path"]

    def find(self, site: str) -> Site:
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
        flow, layer = self.flow(number), self.layers[number]
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
            return at(after, site) if after else self.find(f"{prefix}.{whole}")
        if what == "module":
            blocks = MLPS if whole == "mlp" else ATTENTIONS
            module = next((name for name in blocks if hasattr(layer, name)), None)
            is_more = flow.mlp_adds if whole == "mlp" else flow.attention_adds
            if module is None or not is_more:
                return self.find(f"{prefix}.{whole}")
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
            return self.find(f"{prefix}.input")
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
                probable = self.find(probable).name
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

    def place(self, at: Site) -> tuple[str, bool, bool]:
        """Return what is equal for two sites that are read at one place, whatever their names.

        What a layer leaves in the residual stream is what the next one finds there.
        """
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
        flow = self.flow(number)
        if not at.reads_input:
            mlp = self._mlp_block(self.layers[number])
            if mlp is not None and path == flow.before_mlp:
                return f"{layer}.{mlp}", True, False
            return at.path, False, False
        if path == flow.before_mlp and flow.parallel:
            return self.place(Site("", layer, self.layers[number], True))
        if path == flow.before_attention:
            return self.place(Site("", layer, self.layers[number], True))
        return at.path, True, False

    def layer_and_part(self, at: Site) -> tuple[int, str]:
        """Return which layer's which part a site is, by whatever name it was given.

        Raises SubjectError if it is none that writes into the residual stream or is read from it.
        """
        inside = re.match(rf"{re.escape(self.layers_path)}\.(\d+)(?:\.(\w+))?", at.path)
        if named := re.fullmatch(rf"layers\.(\d+)\.({ANY_PART})", at.name):
            return int(named[1]), named[2]
        for part in (*PARTS, *MORE_PARTS) if inside else ():
            with contextlib.suppress(SubjectError):
                assert inside is not None
                if self.place(self.find(f"layers.{inside[1]}.{part}")) == self.place(at):
                    return int(inside[1]), part
        is_module = inside is not None and at.path == inside[0] and not at.reads_input
        for part, names in (("mlp", MLPS), ("attention", ATTENTIONS)):
            if inside is not None and is_module and inside[2] in names:
                return int(inside[1]), part
        raise SubjectError(
            f"no path from {at.name} of {self.name} to the logits is defined; choose one "
            f"of {', '.join(PARTS)} of a layer"
        )

    def norms_after(self, number: int, part: str) -> list[nn.Module]:
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

    @lru_cache  # noqa: B019 (as long as the model: one entry a layer that was asked for)
    def flow(self, number: int) -> LayerFlow:
        """Return the norms of a layer, found in a forward pass over two tokens."""
        layer = self.layers[number]
        mlp_out = self._down_projection(layer)
        if _is_mixture(layer):
            mlp_out = self._mlp_block(layer)

        def run() -> None:
            def stop(*_: Any) -> None:
                raise Reached

            handle = layer.register_forward_hook(stop)
            probe = torch.zeros(1, 2, dtype=torch.long)
            try:
                self._inner(**self.arguments(self._inner, probe, probe == 0))
            except Reached:
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

    @property
    def has_layer_norms(self) -> bool:
        """Whether the norms that read the residual stream take away its mean over the axes."""
        flow, layer = self.flow(0), self.layers[0]
        path = flow.before_mlp or flow.before_attention
        return path is not None and "rms" not in type(layer.get_submodule(path)).__name__.lower()

    def rectifies(self, at: Site) -> bool:
        """Return whether the MLP of a site's layer has a rectifying activation and no gate."""
        names = ("hidden_act", "activation_function", "hidden_activation", "activation")
        name = next((v for n in names if isinstance(v := getattr(self.config, n, None), str)), "")
        layer_path = at.path.rsplit(".", 1)[0]
        gated = any(
            "gate" in child for child, _ in self.model.get_submodule(layer_path).named_modules()
        )
        return name in NOT_NEGATIVE and not gated


def check_alone(name: str, config: Any) -> None:
    """Raise SubjectError for an encoder-decoder, of which transformers would run the decoder alone,
    on nothing that an encoder wrote.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise SubjectError(
            f"model '{name}' of type '{config.model_type}' has an encoder, and its decoder reads "
            "what that writes; give a causal language model"
        )


def _text_config(config: Any) -> Any:
    """Return the configuration of the language model, where it is one among others."""
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
