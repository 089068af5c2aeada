"""The recipe of an SAE: all that determines it but the model's weights, and its JSON file."""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from autointerp.errors import BadInput, SubjectError
from autointerp.files import json_value, write_text
from autointerp.subjects.places import RECORD, no_record
from autointerp.subjects.training.sae import SaeTraining

VERSION = 1
ONE_LAYER_SITE = "layers.0.mlp.neurons"


@dataclass(frozen=True)
class SaeRecipe:
    """How an SAE is trained on a model's activations at a site.

    Inputs are scaled so that their mean squared norm is the site's width (folded back into the
    biases at the end), so `l1` and `learning_rate` mean the same for every model.

    Attributes:
        site: Where activations are read.
        corpus: Path or hub id of the text; `corpus_digest` is the sha256 of what is read.
        corpus_field, corpus_separator: As in the settings of a subject.
        heldout: Path or hub id of the text to measure on; empty for the documents of `corpus`
            that are held out, one in 50 by a hash of their content.
        tokenizer: A tokenizer.json or a tokenizer's folder; empty for the model's own.
        window: Tokens in a model window, BOS included.
        bos: Whether windows begin with BOS.
        tokens: Tokens to train on; a corpus that has fewer is read again, in another order.
        width: Latents of the SAE.
        activation: `topk` keeps the `k` largest latents of a token and revives dead ones by the
            auxiliary loss; `relu` has an L1 penalty and resamples dead ones.
        k: Latents per token of `topk`.
        l1: λ in mean((x - x̂)²) + λ Σ|f| of `relu`, the first term a mean over tokens and axes.
        batch: Tokens in an optimizer step.
        buffer: Tokens whose activations are held in memory and shuffled together.
        learning_rate: Peak rate of Adam, after `warmup` steps; over the last `decay` share of the
            steps it falls to 0.
        l1_warmup: Share of the steps over which λ rises from 0.
        resample_at: Shares of the steps after which dead latents of `relu` are resampled.
        dead_after: A latent is dead if it did not fire on this many tokens before.
        auxiliary: Weight of the auxiliary loss of `topk`.
        bfloat16: Matrix products of the SAE in bfloat16; its weights stay float32.
        seed: Seed of the initial dictionary and of the order of the text.
    """

    site: str
    corpus: str
    corpus_digest: str
    window: int
    bos: bool
    width: int
    tokens: int = 2_000_000
    activation: Literal["relu", "topk"] = "topk"
    k: int = 32
    l1: float = 0.002
    corpus_field: str = ""
    corpus_separator: int = -1
    heldout: str = ""
    tokenizer: str = ""
    batch: int = 2048
    buffer: int = 131_072
    learning_rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.25
    l1_warmup: float = 0.05
    resample_at: tuple[float, ...] = (0.125, 0.25, 0.375, 0.5)
    dead_after: int = 200_000
    auxiliary: float = 1 / 32
    bfloat16: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise BadInput, naming the option, for a value that no SAE can be trained with."""
        for name in ("width", "tokens", "k", "batch", "buffer"):
            if getattr(self, name) < 1:
                raise BadInput(f"--{name} {getattr(self, name)} must be at least 1")
        if self.window < 2:
            raise BadInput(f"--window {self.window} must be at least 2: BOS and one token")
        if self.activation not in ("relu", "topk"):
            raise BadInput(f"--activation '{self.activation}' must be relu or topk")
        if self.activation == "topk" and self.k > self.width:
            raise BadInput(f"--k {self.k} must not exceed the {self.width} latents of --width")
        for option, value in (("l1", self.l1), ("learning-rate", self.learning_rate)):
            if not 0 <= value < math.inf:
                raise BadInput(f"--{option} {value} must be a number that is not negative")
        if self.learning_rate == 0:
            raise BadInput("--learning-rate 0 trains nothing; give a positive rate")
        if self.batch > self.buffer:
            raise BadInput(
                f"--buffer {self.buffer} must hold a batch: give at least --batch {self.batch}"
            )
        if self.steps < 1:
            raise BadInput(f"--tokens {self.tokens} must be at least --batch {self.batch}")
        if self.seed < 0:
            raise BadInput(f"--seed {self.seed} must not be negative")

    @property
    def steps(self) -> int:
        """Optimizer steps, a batch each."""
        return self.tokens // self.batch

    @property
    def dead_steps(self) -> int:
        """Steps without firing after which a latent is dead."""
        return max(1, self.dead_after // self.batch)


@dataclass(frozen=True)
class ModelRecord:
    """The model that an SAE was trained on.

    Attributes:
        name: Folder, file or hub id.
        revision: On the hub; empty for the newest.
        dtype: Of its weights, as in the settings.
        digest: sha256 of configuration and weights, of those that it was trained on.
        weights: `trained`; `rerandomised`: drawn again from a normal distribution of each tensor's
            mean and standard deviation; `step0`: of a revision before training.
        weights_seed: Seed of the weights that were drawn again.
        keeps_embeddings: Whether the embeddings were left as trained.
    """

    name: str
    revision: str = ""
    dtype: str = "auto"
    digest: str = ""
    weights: Literal["trained", "rerandomised", "step0"] = "trained"
    weights_seed: int = 0
    keeps_embeddings: bool = False


@dataclass(frozen=True)
class TrainingRecord:
    """What stands beside an SAE's weights: recipe, model, and figures on held-out text."""

    model: ModelRecord
    recipe: SaeRecipe | SaeTraining
    measures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def site(self) -> str:
        """The site; the neurons, where the recipe is that of the one-layer transformer's SAE."""
        return ONE_LAYER_SITE if isinstance(self.recipe, SaeTraining) else self.recipe.site

    def write(self, folder: Path) -> None:
        """Write `folder`/training.json."""
        content = {
            "version": VERSION,
            "model": asdict(self.model),
            "recipe": asdict(self.recipe),
            "measures": dict(self.measures),
        }
        write_text(folder / RECORD, json.dumps(content, indent=2) + "\n")


def read_record(folder: Path) -> TrainingRecord:
    """Return what `folder`/training.json says.

    Raises SubjectError if it is missing, damaged or of another version.
    """
    path = folder / RECORD
    remedy = "train it again with `autointerp train sae`"
    try:
        content = json_value(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise no_record(folder) from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise SubjectError(f"{path} cannot be read ({reason}); {remedy}") from None
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise SubjectError(f"{path} is not a record of version {VERSION}; {remedy}")
    recipe, measures = content.get("recipe"), content.get("measures")
    is_one_layer = isinstance(recipe, dict) and "features" in recipe
    try:
        return TrainingRecord(
            _filled(ModelRecord, content.get("model"), path, remedy),
            _filled(SaeTraining if is_one_layer else SaeRecipe, recipe, path, remedy),
            measures if isinstance(measures, dict) else {},
        )
    except SubjectError:
        raise
    except BadInput as error:  # values that no recipe can have
        raise SubjectError(f"{path}: {error}; {remedy}") from None


def _filled(kind: type[Any], content: Any, path: Path, remedy: str) -> Any:
    """Return a dataclass from parsed JSON. Raises SubjectError for what it does not have."""
    names = {one.name: one for one in fields(kind)}
    part = kind.__name__
    if not isinstance(content, dict) or set(content) - set(names):
        unknown = sorted(set(content) - set(names)) if isinstance(content, dict) else []
        raise SubjectError(
            f"{path}: {part} {f'has unknown keys {unknown[:3]}' if unknown else 'is missing'}; "
            f"{remedy}"
        )
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in content.items():
        wanted = hints[name]
        if typing.get_origin(wanted) is tuple:
            good = isinstance(value, list) and all(isinstance(v, int | float) for v in value)
            value = tuple(value) if good else value
        elif typing.get_origin(wanted) is Literal:
            good = value in typing.get_args(wanted)
        elif wanted is float:
            good = isinstance(value, int | float) and not isinstance(value, bool)
            value = float(value) if good else value
        else:
            good = isinstance(wanted, type) and type(value) is wanted
        if not good:
            raise SubjectError(f"{path}: {part}.{name} = {str(value)[:60]} is not valid; {remedy}")
        values[name] = value
    try:
        return kind(**values)
    except TypeError as error:
        raise SubjectError(f"{path}: {part} lacks a key ({error}); {remedy}") from None


def differing(one: Any, other: Any) -> str | None:
    """Return `name = a, not b` of the first field in which two dataclasses differ, or None."""
    if type(one) is not type(other):
        return "a recipe of another kind"
    for each in fields(one):
        left, right = getattr(one, each.name), getattr(other, each.name)
        if left != right:
            return f"{each.name} = {left}, not {right}"
    return None
