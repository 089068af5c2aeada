"""A Hugging Face causal language model, read and changed at one site through plain hooks."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import inspect
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from autointerp.errors import SubjectError
from autointerp.subjects.architecture import Architecture, Reached, Site
from autointerp.subjects.flow import normalised
from autointerp.subjects.interventions import Intervention
from autointerp.subjects.readout import Readout, Step, linear, norm
from autointerp.subjects.token_texts import TokenTexts, token_texts
from autointerp.text import is_control_token, without_surrogates

FINAL_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm", "norm_f", "final_norm")
CONTEXTS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
# Where a unit can be set: all that reads these sees the change.
CHANGEABLE = (
    "residual", "input", "mlp.neurons", "mlp", "mlp.added", "mlp.module", "mlp.input",
    "attention.heads", "attention", "attention.added", "attention.module",
)  # fmt: skip


class HookedLanguageModel:
    """A causal language model and one site in it.

    Attributes:
        model: The Hugging Face model, in evaluation mode.
        tokenizer: Its tokenizer.
        name: Hub id or folder.
        architecture: Where its layers and sites are.
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
    ) -> None:
        self.absent = frozenset(absent)
        self.notes: tuple[str, ...] = ()
        if not hasattr(model, "config") or not hasattr(model, "get_input_embeddings"):
            raise SubjectError(
                f"{type(model).__name__} is not a model; give a Hugging Face causal LM"
            )
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name or str(getattr(model.config, "name_or_path", "")) or type(model).__name__
        self.architecture = Architecture(model, self.name)
        self.config = self.architecture.config
        self._go_to(site)
        self._kept: tuple[tuple[str | int, ...], Any] | None = None
        self.hidden: HookedLanguageModel | None = None
        if hidden:
            self.hidden = self._hidden()
        elif hidden is None:
            with contextlib.suppress(SubjectError):
                self.hidden = self._hidden()

    def _go_to(self, site: str) -> None:
        """Read this model at `site`. Raises SubjectError if there is no such site."""
        self._at = self.architecture.find(site)
        self.site = self._at.name
        self._inner = self.architecture.part_of(self._at.path)
        probe = torch.zeros(1, 2, dtype=torch.long)
        self.d_site = self.activations(probe, probe == 0).shape[-1]
        is_neurons = self.site.endswith(".mlp.neurons")
        self.signed = not (is_neurons and self.architecture.rectifies(self._at))

    def _hidden(self) -> HookedLanguageModel:
        """Return this model read at the hidden neurons of the site's layer.

        Raises SubjectError if the site is in no layer, or is these neurons, or they are not found.
        """
        layer = re.match(rf"{re.escape(self.architecture.layers_path)}\.(\d+)", self._at.path)
        if layer is None:
            raise SubjectError(
                f"site '{self.site}' is in none of the layers of {self.name}, so it has no hidden "
                "neurons; leave subject.neurons out"
            )
        hidden = copy.copy(self)
        hidden.hidden = None
        hidden._go_to(f"layers.{layer[1]}.mlp.neurons")
        if self.is_at(hidden.site):
            raise SubjectError(
                f"site '{self.site}' is the hidden neurons already; leave subject.neurons out"
            )
        return hidden

    def elsewhere(self, site: str, hidden: bool = False) -> HookedLanguageModel:
        """Return the same model, its weights shared, read at another site.

        Raises SubjectError if there is no such site, or it has no hidden neurons that are wanted.
        """
        other = copy.copy(self)
        other.hidden = None
        other._go_to(site)
        if hidden:
            other.hidden = other._hidden()
        return other

    @property
    def device(self) -> torch.device:
        """The device of the embedding, where token ids have to be."""
        return self.architecture.device

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
                    raise Reached
                return value

            return catch

        arguments = self.architecture.arguments(self._inner, ids, attention)
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
        except Reached:
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
            _, part = self.architecture.layer_and_part(self._at)
        except SubjectError:
            part = ""
        is_layer = any(self._at.module is layer for layer in self.architecture.layers)
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

        arguments = self.architecture.arguments(self._inner, ids, attention)
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
        arguments = self.architecture.arguments(
            self._inner, ids, torch.ones_like(ids, dtype=torch.bool)
        )
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
        number, part = self.architecture.layer_and_part(self._at)
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
        parent = self.model.get_submodule(self.architecture.layers_path.rpartition(".")[0])
        norms = [m for n in FINAL_NORMS if isinstance(m := getattr(parent, n, None), nn.Module)]
        if len(norms) != 1 or head is None:
            lack = "unembedding" if head is None else "final norm"
            raise SubjectError(f"no {lack} is found in {self.name}, so no effects on its logits")
        steps: list[Step] = []
        projects = part in {"mlp.neurons", "attention.heads"}
        if projects:
            steps.append(linear(self._at.module))
        written = "mlp.added" if transcodes and str(writes).endswith(".mlp.added") else part
        steps += [norm(module, hidden) for module in self.architecture.norms_after(number, written)]
        steps.append(norm(norms[0], hidden))
        if isinstance(out := getattr(parent, "project_out", None), nn.Module):
            steps.append(linear(out))
        return Readout(self.d_site if projects else hidden, (*steps, linear(head)))

    def is_at(self, site: str) -> bool:
        """Return whether `site` names the place that is read, perhaps by another name.

        What a layer leaves in the residual stream is what the next one finds there.
        """
        try:
            other = self.architecture.find(site)
        except SubjectError:
            return False
        return self.architecture.place(other) == self.architecture.place(self._at)

    def name_of(self, site: str) -> str:
        """Return the name that a site has in this model, or the one given where it is none."""
        try:
            return self.architecture.find(site).name
        except SubjectError:
            return site

    @property
    def is_in_stream(self) -> bool:
        """Whether the site is the residual stream, or what a layer's part adds to it."""
        try:
            _, part = self.architecture.layer_and_part(self._at)
        except SubjectError:
            return False
        written = ("input", "middle", "residual", "attention", "mlp", "mlp.stream")
        return part in written or part.endswith(".added")

    def check_width(self, d_in: int, what: str = "the SAE") -> None:
        """Raise SubjectError if an SAE of inputs [d_in] does not fit the site."""
        if d_in != self.d_site:
            raise SubjectError(
                f"{what} reads {d_in} activations, {self.site} of {self.name} has {self.d_site}; "
                f"its sites are {', '.join(self.architecture.sites)}"
            )

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
