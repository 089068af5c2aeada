"""Look at a model, an SAE and a corpus, and write their autointerp.toml."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import say


def command(
    model: Annotated[
        str, typer.Option(help="Folder or hub id of the model.", show_default="the SAE's record")
    ] = "",
    revision: Annotated[
        str, typer.Option(help="Revision of a model on the hub.", show_default="the newest")
    ] = "",
    site: Annotated[
        str,
        typer.Option(
            help="Where to read activations, such as layers.3.mlp.",
            show_default="the SAE's record",
        ),
    ] = "",
    neurons: Annotated[
        str,
        typer.Option(
            help="hidden: the source neurons is the hidden neurons of the site's layer.",
            show_default="the site's axes",
        ),
    ] = "",
    sae: Annotated[
        str, typer.Option(help="File, folder or hub id of the SAE.", show_default="none")
    ] = "",
    untrained: Annotated[
        str,
        typer.Option(
            help="Folder of `autointerp train untrained`: the SAE of the untrained twin.",
            show_default="none",
        ),
    ] = "",
    corpus: Annotated[
        str,
        typer.Option(
            help="Text, JSONL, Parquet, tokens or a dataset's hub id.", show_default=False
        ),
    ] = "",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; - means standard output.")
    ] = Path("autointerp.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    sae_format: Annotated[
        str, typer.Option(help="Format of the SAE.", show_default="recognised by its files")
    ] = "",
    subtract_b_dec: Annotated[
        str,
        typer.Option(
            help="yes or no: the SAE first subtracts its decoder bias from the input.",
            show_default="the SAE's record",
        ),
    ] = "",
    k: Annotated[
        int,
        typer.Option(
            min=0, help="Active latents per token of a TopK SAE.", show_default="the SAE's record"
        ),
    ] = 0,
    input_scale: Annotated[
        float,
        typer.Option(
            min=0,
            help="Factor by which the SAE's inputs were scaled in training.",
            show_default="the SAE's record",
        ),
    ] = 0.0,
    sae_layout: Annotated[
        str,
        typer.Option(
            help="in_out or out_in: axes of the SAE's encoder where it is square.",
            show_default="the SAE's record",
        ),
    ] = "",
    corpus_field: Annotated[
        str, typer.Option(help="Column or key of the text.", show_default="the obvious one")
    ] = "",
    corpus_separator: Annotated[
        int,
        typer.Option(help="Token id between documents of a flat token file.", show_default="none"),
    ] = -1,
    check_sae: Annotated[
        bool,
        typer.Option(
            help="Whether what the SAE's files say must be known, and fit model and site."
        ),
    ] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.")] = "cpu",
    dtype: Annotated[
        str, typer.Option(help="Weights of the model: auto, float32, bfloat16 or float16.")
    ] = "auto",
) -> None:
    """Write autointerp.toml for a model, a site in it, an SAE on that site and a corpus.

    What the files say is taken from them, and printed; only the rest is asked for.

    Example: autointerp init --model EleutherAI/pythia-70m --sae ./my_sae --corpus text.parquet
    """
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from autointerp.files import require_new
    from autointerp.settings import SubjectSettings, from_mapping
    from autointerp.subjects.places import require_places

    values = {
        "revision": revision,
        "neurons": neurons,
        "sae": sae,
        "untrained": untrained,
        "sae_format": sae_format,
        "subtract_b_dec": subtract_b_dec,
        "k": k,
        "input_scale": input_scale,
        "sae_layout": sae_layout,
        "corpus_field": corpus_field,
        "corpus_separator": corpus_separator,
        "check_sae": check_sae,
        "device": device,
        "dtype": dtype,
    }
    checked = from_mapping(SubjectSettings, values, "the command line", "subject")
    given = replace(checked, model=model, site=site, corpus=corpus)
    require_new(output, force)
    require_places(given, is_whole=False)

    from autointerp.pipeline.init import initialise  # imports torch: after what may be refused

    ask = _ask if _can_ask() else None
    if output == Path("-"):
        with TemporaryDirectory() as folder:
            file = Path(folder) / "autointerp.toml"
            initialise(given, file, force, ask, lambda event: say(str(event), err=True))
            typer.echo(file.read_text(encoding="utf-8"), nl=False)
        return
    settings = initialise(given, output, force, ask, lambda event: say(str(event)))
    # A file of this name in the current folder is the default subject.
    named = "" if output == Path("autointerp.toml") else f" --subject {shlex.quote(str(output))}"
    source = "features" if settings.sae or settings.model == "embedded" else "neurons"
    trial = f"--run trial --source {source} --n 20 --tokens 100k"
    say(f"wrote {output}; next: autointerp rate{named} {trial}")


def _can_ask() -> bool:
    import sys

    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: str) -> str:
    answer: str = typer.prompt(question, err=True)
    return answer.strip()
