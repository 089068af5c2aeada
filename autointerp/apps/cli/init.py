"""Look at a model, an SAE and a corpus, and write their autointerp.toml."""

from __future__ import annotations

from pathlib import Path

import typer


def command(
    model: str = typer.Option(None, help="Folder or hub id.", show_default="what the SAE records"),
    revision: str = typer.Option("", help="Of a model on the hub.", show_default="the newest"),
    site: str = typer.Option(
        None, help="Where to read, such as layers.3.mlp.", show_default="what the SAE records"
    ),
    sae: str = typer.Option("", help="File, folder or hub id.", show_default="none"),
    corpus: str = typer.Option(
        None, help="Text, JSONL, Parquet, tokens or a dataset's hub id.", show_default=False
    ),
    output: Path = typer.Option(Path("autointerp.toml"), "--output", "-o", help="File to write."),
    force: bool = typer.Option(False, "--force", help="Overwrite the file."),
    sae_format: str = typer.Option("", help="Force the SAE's format.", show_default=False),
    subtract_b_dec: str = typer.Option(
        "",
        help="yes or no: the SAE takes its decoder bias from the input first.",
        show_default="what its files say",
    ),
    k: int = typer.Option(0, min=0, help="Latents a token of a TopK that does not say so."),
    input_scale: float = typer.Option(
        0.0, min=0, help="Factor on the input in the SAE's training.", show_default="as recorded"
    ),
    corpus_field: str = typer.Option("", help="Column or key of the text.", show_default=False),
    corpus_separator: int = typer.Option(
        -1, help="Token id between the documents of flat tokens.", show_default=False
    ),
    check_sae: bool = typer.Option(
        True, help="Whether model and site must be those that the SAE's files record."
    ),
    device: str = typer.Option("cpu", help="cpu, cuda, cuda:N or mps."),
    dtype: str = typer.Option("auto", help="auto, float32, bfloat16 or float16."),
) -> None:
    """Write autointerp.toml for a model, a site in it, an SAE on that site and a corpus.

    What the files say is taken from them, and printed; only the rest is asked for.

    Example: autointerp init --model EleutherAI/pythia-70m --sae ./my_sae --corpus text.parquet
    """
    from dataclasses import replace

    from autointerp.pipeline.init import initialise
    from autointerp.settings import SubjectSettings, from_mapping

    said = {
        "revision": revision,
        "sae": sae,
        "sae_format": sae_format,
        "subtract_b_dec": subtract_b_dec,
        "k": k,
        "input_scale": input_scale,
        "corpus_field": corpus_field,
        "corpus_separator": corpus_separator,
        "check_sae": check_sae,
        "device": device,
        "dtype": dtype,
    }
    checked = from_mapping(SubjectSettings, said, "the command line", "subject")
    given = replace(checked, model=model or "", site=site or "", corpus=corpus or "")
    initialise(given, output, force, ask=_ask if _can_ask() else None, tell=typer.echo)
    typer.echo(f"wrote {output}; next: autointerp rate --subject {output} --source features")


def _can_ask() -> bool:
    import sys

    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: str) -> str:
    answer: str = typer.prompt(question, err=True)
    return answer.strip()
