"""Train a tokenizer, the one-layer transformer and an SAE on its neurons."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from autointerp.subjects.training.events import OnTrainingEvent
    from autointerp.subjects.training.measures import TrainingMeasures

LINE_EVERY = 500  # optimizer steps between two lines where the output is no terminal

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
        f"{out / name}.npz: {len(documents.tokens):,} tokens, {len(documents):,} documents"
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

    from autointerp.subjects.one_layer import OneLayerConfig
    from autointerp.subjects.tokenizers import load_tokenizer
    from autointerp.subjects.training.transformer import TransformerTraining, train_transformer
    from autointerp.subjects.windows import load_documents

    vocabulary = load_tokenizer(out / "tokenizer.json").size
    config = OneLayerConfig(vocabulary, d_model, heads, d_mlp, context)
    training = TransformerTraining(
        batch, steps, learning_rate, learning_rate / 10, seed=seed, bfloat16=bfloat16
    )
    with shown_on(Console()) as on:
        train_transformer(load_documents(out / "train.npz"), config, training, out, device, on)


@app.command()
def sae(
    out: Out = OUT,
    steps: Annotated[int, typer.Option(min=1, help="Number of optimizer steps.")] = 8000,
    features: Annotated[int, typer.Option(min=1, help="Number of features of the SAE.")] = 2048,
    l1: Annotated[float, typer.Option(help="Weight λ of the L1 penalty.")] = 0.002,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of Adam.")] = 1e-3,
    windows: Annotated[int, typer.Option(min=1, help="Windows in one optimizer step.")] = 32,
    seed: Seed = 0,
    device: Device = "cpu",
    bfloat16: Bfloat16 = False,
) -> None:
    """Train an SAE on the neurons of OUT/transformer.safetensors; run it again to resume.

    Example: autointerp train sae --features 2048 --l1 0.002 --bfloat16
    """
    from rich.console import Console

    from autointerp.subjects.one_layer import load_one_layer
    from autointerp.subjects.training.measures import measure
    from autointerp.subjects.training.sae import SaeTraining, train_sae
    from autointerp.subjects.windows import load_documents

    console = Console()
    model = load_one_layer(out / "transformer.safetensors", device)
    training = SaeTraining(
        features=features,
        l1=l1,
        learning_rate=learning_rate,
        windows=windows,
        steps=steps,
        dead_steps=max(1, steps // 20),
        seed=seed,
        bfloat16=bfloat16,
    )
    with shown_on(console) as on:
        trained = train_sae(model, load_documents(out / "train.npz"), training, out, device, on)
    heldout = out / "heldout.npz"
    if heldout.exists():
        documents = load_documents(heldout)
        console.print(measures_text(measure(model, trained.to(device), documents, device)))


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
    """Yield a callback that prints training events: a bar on a terminal, else lines.

    Off a terminal it prints one line every 500 optimizer steps.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from autointerp.subjects.training.events import StepsDone, TrainingEvent

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = None

    def on(event: TrainingEvent) -> None:
        nonlocal task
        if not isinstance(event, StepsDone):
            console.print(str(event))
        elif console.is_terminal:
            if task is None:
                task = bar.add_task(event.part, total=event.total, figures="")
            bar.update(task, completed=event.done, figures=event.figures_text)
        elif event.done % LINE_EVERY == 0 or event.done == event.total:
            console.print(str(event))

    with bar:
        yield on


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
