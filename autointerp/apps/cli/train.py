"""Train an SAE on any model; or a tokenizer, the one-layer transformer and its SAE."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autointerp.apps.cli import _options
from autointerp.errors import BadInput
from autointerp.text import count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from autointerp.pipeline.train import TrainedSae
    from autointerp.subjects.training.events import OnTrainingEvent
    from autointerp.subjects.training.measures import TrainingMeasures

LINE_EVERY = 500  # most optimizer steps between two lines where the output is no terminal

app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)

Out = Annotated[Path, typer.Option("--out", help="Folder of the results and checkpoints.")]
Device = Annotated[str, typer.Option(help="Device to train on: cpu or cuda.")]
Bfloat16 = Annotated[
    bool, typer.Option("--bfloat16", help="Compute the matrix products in bfloat16.")
]
Seed = Annotated[
    int, typer.Option(help="Seed of the initial weights and of the order of the text.")
]
Text = Annotated[Path, typer.Argument(help="JSONL file with a document in each line's `text`.")]
OUT = Path("training")
# Parameters of `sae` that are of a model whose activations are streamed.
STREAMED = (
    "site", "corpus", "tokens", "activation", "k", "batch", "buffer", "window", "heldout",
    "revision", "corpus_field", "corpus_separator", "dtype",
)  # fmt: skip


@app.command()
def tokenizer(
    text: Text,
    out: Out = OUT,
    vocabulary: Annotated[
        int,
        typer.Option(
            min=300, help="Size of the vocabulary in tokens, including the two special ones."
        ),
    ] = 4096,
) -> None:
    """Train a byte-level BPE tokenizer.

    Example: autointerp train tokenizer text.jsonl --vocabulary 4096
    """
    from rich.console import Console

    from autointerp.files import partial_file
    from autointerp.subjects.training.tokenise import read_texts, train_tokenizer

    out.mkdir(parents=True, exist_ok=True)
    trained = train_tokenizer(read_texts(text), vocabulary)
    with partial_file(out / "tokenizer.json") as partial:
        trained.save(str(partial))
    Console().print(f"{out / 'tokenizer.json'}: {trained.get_vocab_size():,} tokens")


@app.command()
def tokens(
    text: Text,
    out: Out = OUT,
    name: Annotated[str, typer.Option(help="Name of the result, which is OUT/NAME.npz.")] = "train",
) -> None:
    """Tokenise documents with the tokenizer in OUT.

    Example: autointerp train tokens heldout.jsonl --name heldout
    """
    from rich.console import Console

    from autointerp.subjects.tokenizers import load_tokenizer
    from autointerp.subjects.training.tokenise import read_texts, tokenise

    documents = tokenise(read_texts(text), load_tokenizer(out / "tokenizer.json").backend)
    documents.save(out / f"{name}.npz")
    Console().print(
        f"{out / name}.npz: {count(len(documents.tokens), 'token')}, "
        f"{count(len(documents), 'document')}"
    )


@app.command()
def transformer(
    out: Out = OUT,
    steps: Annotated[int, typer.Option(min=1, help="Number of optimizer steps.")] = 20_000,
    batch: Annotated[int, typer.Option(min=1, help="Windows in one optimizer step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 5e-4,
    d_model: Annotated[int, typer.Option(min=8, help="Width of the residual stream.")] = 128,
    heads: Annotated[int, typer.Option(min=1, help="Number of attention heads.")] = 8,
    d_mlp: Annotated[int, typer.Option(min=8, help="Number of MLP neurons.")] = 512,
    context: Annotated[int, typer.Option(min=8, help="Tokens in one window, BOS included.")] = 128,
    seed: Seed = 0,
    device: Device = "cpu",
    bfloat16: Bfloat16 = False,
) -> None:
    """Train the one-layer transformer on OUT/train.npz; run it again to resume.

    Example: autointerp train transformer --steps 12000 --bfloat16
    """
    from rich.console import Console

    from autointerp.subjects.places import check_device, require_device
    from autointerp.subjects.tokenizers import load_tokenizer
    from autointerp.subjects.windows import load_documents

    require_device(device, f"--device {device}")
    vocabulary = load_tokenizer(out / "tokenizer.json").size

    from autointerp.subjects.one_layer import OneLayerConfig  # imports torch
    from autointerp.subjects.training.transformer import TransformerTraining, train_transformer

    check_device(device, f"--device {device}")
    config = OneLayerConfig(vocabulary, d_model, heads, d_mlp, context)
    training = TransformerTraining(
        batch, steps, learning_rate, learning_rate / 10, seed=seed, bfloat16=bfloat16
    )
    with shown_on(Console()) as on:
        train_transformer(load_documents(out / "train.npz"), config, training, out, device, on)


@app.command()
def sae(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            help="Folder, hub id or GGUF file of a causal language model.",
            show_default="the one-layer transformer in OUT",
        ),
    ] = "",
    site: Annotated[
        str,
        typer.Option(help="Where to read activations, such as layers.3.mlp.", show_default=False),
    ] = "",
    corpus: Annotated[
        str,
        typer.Option(
            help="Text, JSONL, Parquet, tokens or a dataset's hub id.", show_default=False
        ),
    ] = "",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the results and checkpoints.")
    ] = OUT,
    tokens: Annotated[
        str | None,
        typer.Option(
            help="Tokens to train on, such as 2M; a shorter corpus is read again.",
            show_default="2M",
        ),
    ] = None,
    features: Annotated[
        int, typer.Option("--features", "--width", min=1, help="Number of features of the SAE.")
    ] = 2048,
    activation: Annotated[
        str | None,
        typer.Option(help="topk, or relu with an L1 penalty.", show_default="topk"),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(help="Features per token, with --activation topk.", show_default="32"),
    ] = None,
    l1: Annotated[
        float | None,
        typer.Option(
            help="Weight λ of the L1 penalty, with --activation relu.", show_default="0.002"
        ),
    ] = None,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", "--lr", help="Peak learning rate of Adam.")
    ] = 1e-3,
    batch: Annotated[
        int | None, typer.Option(help="Tokens in one optimizer step.", show_default="2048")
    ] = None,
    buffer: Annotated[
        int | None,
        typer.Option(
            help="Tokens whose activations are in memory, shuffled together.",
            show_default="131072",
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="Tokens in a model window, BOS included.",
            show_default="the model's context length, at most 1024",
        ),
    ] = None,
    heldout: Annotated[
        str | None,
        typer.Option(
            help="Text to measure on.", show_default="one document in 50, which is not trained on"
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of optimizer steps, of the one-layer transformer's SAE.",
            show_default="8000",
        ),
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Windows in one optimizer step, of the one-layer transformer's SAE.",
            show_default="32",
        ),
    ] = None,
    seed: Seed = 0,
    revision: Annotated[
        str, typer.Option(help="Revision of a model on the hub.", show_default="the newest")
    ] = "",
    corpus_field: Annotated[
        str, typer.Option(help="Column or key of the text.", show_default="the obvious one")
    ] = "",
    corpus_separator: Annotated[
        int,
        typer.Option(help="Token id between documents of a flat token file.", show_default="none"),
    ] = -1,
    device: Device = "cpu",
    dtype: Annotated[
        str, typer.Option(help="Weights of the model: auto, float32, bfloat16 or float16.")
    ] = "auto",
    bfloat16: Bfloat16 = False,
) -> None:
    """Train an SAE on a model's activations at a site; run it again to resume.

    OUT then holds the SAE in SAELens's format, and training.json: the recipe, and loss recovered,
    L0, dead share and variance explained on held-out text. Without --model the SAE is trained on
    the neurons of OUT/transformer.safetensors.

    Example: autointerp train sae --model EleutherAI/pythia-70m --site layers.2.mlp --corpus t.txt
    """
    written = _options.given(context)
    if not model:
        for name in STREAMED:
            if name in written:
                raise BadInput(
                    f"{written[name]} needs --model; a one-layer transformer does not take it"
                )
        _one_layer_sae(out, steps, features, l1, learning_rate, windows, seed, device, bfloat16)
        return
    for name, other in (("steps", "--tokens"), ("windows", "--batch")):
        if name in written:
            raise BadInput(f"--{name} is for the one-layer transformer; give {other} with --model")
    for option, place in (("--site", site), ("--corpus", corpus)):
        if not place:
            raise BadInput(f"{option} is missing; give it with --model")
    if k is not None and activation == "relu":
        raise BadInput("--k is for --activation topk; leave it out")
    if l1 is not None and activation != "relu":
        raise BadInput("--l1 is for --activation relu; give that, or leave it out")
    from autointerp.settings import SubjectSettings, from_mapping, token_count
    from autointerp.subjects.places import require_places

    chosen = {
        "tokens": None if tokens is None else token_count(tokens, of_harvest=False),
        "activation": activation, "k": k, "l1": l1, "batch": batch, "buffer": buffer,
    }  # fmt: skip
    asked: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    subject = from_mapping(
        SubjectSettings,
        {
            "model": _absolute(model), "site": site, "corpus": _absolute(corpus),
            "revision": revision, "corpus_field": corpus_field,
            "corpus_separator": corpus_separator, "device": device, "dtype": dtype,
        },
        "the command line",
        "subject",
    )  # fmt: skip
    require_places(subject)

    from autointerp.pipeline.train import train_sae  # imports torch: after what may be refused
    from autointerp.subjects.training.recipe import SaeRecipe

    def recipe(site: str, corpus_digest: str, window: int, bos: bool) -> SaeRecipe:
        made = SaeRecipe(
            site=site, corpus=_absolute(corpus), corpus_digest=corpus_digest, window=window,
            bos=bos, width=features, learning_rate=learning_rate, seed=seed, bfloat16=bfloat16,
            corpus_field=corpus_field, corpus_separator=corpus_separator,
            heldout=_absolute(heldout or ""), **asked,
        )  # fmt: skip
        # Of ten million tokens as in Gao et al. 2024, and of a short training a twentieth.
        return replace(made, dead_after=min(10_000_000, max(made.batch, made.tokens // 20)))

    recipe("layers.0.mlp", "", window or 128, True)  # wrong options are named before the model
    with shown_on(console := _console()) as on:
        trained = train_sae(subject, recipe, window or 0, out, on)
    _say_trained(console, trained)


def _console() -> Console:
    from rich.console import Console

    return Console()


def _absolute(place: str) -> str:
    """Return the absolute path of a file or folder that exists, other names as they are."""
    return str(Path(place).resolve()) if place and Path(place).exists() else place


def _say_trained(console: Console, trained: TrainedSae) -> None:
    from autointerp.subjects.training.recipe import SaeRecipe
    from autointerp.subjects.training.spliced_measures import SpliceMeasures

    record = trained.record
    if trained.was_there:
        console.print(f"{trained.folder} holds this SAE already; nothing to do")
    if record.measures:
        console.print(SpliceMeasures(**record.measures).text())
    recipe = record.recipe
    width = recipe.width if isinstance(recipe, SaeRecipe) else recipe.features
    console.print(
        f"{trained.folder}: {width:,} features at {record.site}, weights {record.model.weights}",
        soft_wrap=True,
    )


def _one_layer_sae(
    out: Path,
    steps: int | None,
    features: int,
    l1: float | None,
    learning_rate: float,
    windows: int | None,
    seed: int,
    device: str,
    bfloat16: bool,
) -> None:
    """Train on the neurons of the one-layer transformer in `out`."""
    from autointerp.subjects.places import check_device, require_device, require_weights

    require_device(device, f"--device {device}")
    require_weights(out / "transformer.safetensors")
    check_device(device, f"--device {device}")

    from rich.console import Console

    from autointerp.pipeline.train import one_layer_record
    from autointerp.subjects.one_layer import load_one_layer
    from autointerp.subjects.training.measures import measure
    from autointerp.subjects.training.recipe import ModelRecord
    from autointerp.subjects.training.sae import SaeTraining, train_sae
    from autointerp.subjects.untrained import weights_digest
    from autointerp.subjects.windows import load_documents

    console = Console()
    model = load_one_layer(out / "transformer.safetensors", device)
    steps = 8000 if steps is None else steps
    training = SaeTraining(
        features=features,
        l1=0.002 if l1 is None else l1,
        learning_rate=learning_rate,
        windows=32 if windows is None else windows,
        steps=steps,
        dead_steps=max(1, steps // 20),
        seed=seed,
        bfloat16=bfloat16,
    )
    with shown_on(console) as on:
        trained = train_sae(model, load_documents(out / "train.npz"), training, out, device, on)
    weights = ModelRecord(str(out / "transformer.safetensors"), digest=weights_digest(model))
    one_layer_record(model, trained, weights, training, out, device).write(out)
    heldout = out / "heldout.npz"
    if heldout.exists():
        documents = load_documents(heldout)
        console.print(measures_text(measure(model, trained.to(device), documents, device)))


@app.command()
def untrained(
    of: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder that `autointerp train sae` wrote."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")],
    keep_embeddings: Annotated[
        bool, typer.Option("--keep-embeddings", help="Leave the embeddings as trained.")
    ] = False,
    step0: Annotated[
        str,
        typer.Option(
            metavar="REVISION",
            help="Revision on the hub from before training, instead of weights drawn again.",
            show_default=False,
        ),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights that are drawn again.")] = 0,
    model: Annotated[
        str, typer.Option(help="Where the model is now.", show_default="as recorded")
    ] = "",
    corpus: Annotated[
        str, typer.Option(help="Where the text is now.", show_default="as recorded")
    ] = "",
    device: Device = "cpu",
) -> None:
    """Train the same SAE on the same model with weights that were never trained.

    The recipe is read from FOLDER/training.json. Each parameter is drawn again from a normal
    distribution of its own mean and standard deviation (Heap et al. 2025, arXiv 2501.17727). Name
    the results as `untrained` in autointerp.toml, and rate them with --source untrained.

    Example: autointerp train untrained my_sae -o my_twin
    """
    from autointerp.subjects.places import check_device, require_device, require_record

    if step0 and (keep_embeddings or seed):
        raise BadInput("--step0 draws no weights; leave --seed and --keep-embeddings out")
    require_device(device, f"--device {device}")
    require_record(of)
    check_device(device, f"--device {device}")

    from autointerp.pipeline.train import train_untrained  # imports torch

    with shown_on(console := _console()) as on:
        trained = train_untrained(
            of, out, seed=seed, keep_embeddings=keep_embeddings, step0=step0, model=model,
            corpus=corpus, device=device, on=on,
        )  # fmt: skip
    _say_trained(console, trained)


@app.command()
def clusters(
    out: Annotated[Path, typer.Argument(help="Folder of the subject; made if it is not there.")],
    clusters: Annotated[int, typer.Option(help="Clusters, 3 to 16.")] = 8,
    points: Annotated[int, typer.Option(min=1, help="Points of each cluster.")] = 500,
    seed: Seed = 0,
) -> None:
    """Make a subject of known truth: points in clusters, and an SAE with a feature for each.

    Writes the points as recorded activations, the SAE, labels.parquet (the cluster of each point)
    and an autointerp.toml. What `concepts` says of it can be checked: each cluster is known by one
    feature of its own.

    Example: autointerp train clusters points
    """
    from rich.console import Console

    from autointerp.pipeline.train import make_clusters

    Console().print(make_clusters(out, clusters, points, seed), highlight=False, markup=False)


@app.command()
def report(
    out: Out = OUT,
    tokens: Annotated[
        int, typer.Option(min=1, help="Number of held-out tokens to measure on.")
    ] = 300_000,
    device: Device = "cpu",
) -> None:
    """Print loss recovered, L0, share of dead features and densities on OUT/heldout.npz.

    Example: autointerp train report --tokens 1000000
    """
    from rich.console import Console

    from autointerp.subjects.places import check_device, require_device, require_weights

    require_device(device, f"--device {device}")
    require_weights(out / "transformer.safetensors")
    check_device(device, f"--device {device}")

    from autointerp.subjects.autoencoder import load_autoencoder
    from autointerp.subjects.one_layer import load_one_layer
    from autointerp.subjects.training.measures import measure
    from autointerp.subjects.windows import load_documents

    measures = measure(
        load_one_layer(out / "transformer.safetensors", device),
        load_autoencoder(out / "sae.safetensors", device),
        load_documents(out / "heldout.npz"),
        device,
        tokens,
    )
    Console().print(measures_text(measures))


@contextlib.contextmanager
def shown_on(console: Console) -> Iterator[OnTrainingEvent]:
    """Yield a callback that prints training events: bars on a terminal, else lines.

    Off a terminal it prints a line every 500 optimizer steps, and ten at least.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    from autointerp.subjects.training.events import (
        ActivationsRead,
        Measuring,
        StepsDone,
        TrainingEvent,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def advance(name: str, done: int, total: int, figures: str = "") -> None:
        if name not in tasks:
            tasks[name] = bar.add_task(name, total=total, figures=figures)
        bar.update(tasks[name], completed=done, total=total, figures=figures)

    def on(event: TrainingEvent) -> None:
        if isinstance(event, ActivationsRead | Measuring):
            is_read = isinstance(event, ActivationsRead)
            if console.is_terminal:
                name = "activations" if is_read else "held-out text"
                advance(name, event.done, event.total)
            elif not is_read and event.done >= event.total:
                console.print(str(event))
        elif not isinstance(event, StepsDone):
            console.print(str(event))
        elif console.is_terminal:
            advance(event.part, event.done, event.total, event.figures_text)
        elif event.done % _every(event.total) == 0 or event.done == event.total:
            console.print(str(event))

    with bar:
        yield on


def _every(total: int) -> int:
    """Return the optimizer steps between two lines: 500, or a tenth of a short training."""
    return min(LINE_EVERY, max(10, total // 100 * 10))


def measures_text(measures: TrainingMeasures) -> str:
    """Return the measures as text, and below a histogram of feature and neuron densities."""
    import numpy as np

    m = measures
    over = int((m.feature_density >= 1e-4).sum())
    lines = [
        f"over {m.tokens:,} held-out tokens:",
        f"  loss                 {m.loss:.3f} nats a token",
        f"  with the SAE         {m.loss_reconstructed:.3f}",
        f"  with the MLP zeroed  {m.loss_zero:.3f}",
        f"  loss recovered       {m.loss_recovered:.3f}",
        f"  variance explained   {m.explained:.3f}",
        f"  L0                   {m.l0:.1f} features a token",
        f"  dead                 {m.dead:.1%} of {len(m.feature_density):,} features",
        f"  density >= 1e-4      {over:,} features",
        "",
        "log10 density      features                    neurons",
    ]
    edges = np.arange(-6.0, 0.01, 0.5)
    counts = [_histogram(d, edges) for d in (m.feature_density, m.neuron_density)]
    for row in range(len(edges) - 1):
        bars = [f"{'█' * round(18 * c[row] / max(1, c.max())):<18} {c[row]:>5}  " for c in counts]
        lines.append(f"{edges[row]:>5.1f} to {edges[row + 1]:>4.1f}  {bars[0]}  {bars[1]}")
    never = [int((d == 0).sum()) for d in (m.feature_density, m.neuron_density)]
    lines.append(f"never          {'':<18} {never[0]:>5}    {'':<18} {never[1]:>5}")
    return "\n".join(lines)


def _histogram(density: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    import numpy as np

    logs = np.log10(density[density > 0]).clip(edges[0], edges[-1])
    return np.histogram(logs, edges)[0]
