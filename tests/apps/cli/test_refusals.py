"""What is refused for what the user wrote is refused before heavy libraries are imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# torch takes 2 s of CPU, transformers 1 to 5, pandas and scipy's parts half a second each.
HEAVY = (
    "torch", "transformers", "pandas", "pyarrow", "matplotlib", "datasets", "sklearn",
    "scipy.special", "scipy.optimize", "scipy.stats",
)  # fmt: skip

SETTINGS = {
    "bad.toml": '[subject]\nmodel = 3\n',
    "corpus.toml": '[subject]\nmodel = "gpt2"\nsite = "layers.0.mlp"\ncorpus = "no.txt"\n',
    "no_corpus.toml": '[subject]\nmodel = "gpt2"\nsite = "layers.0.mlp"\n',
    "model.toml": '[subject]\nmodel = "../no/model"\nsite = "layers.0.mlp"\ncorpus = "text.txt"\n',
    "sae.toml": '[subject]\nmodel = "gpt2"\nsae = "/no/sae"\ncorpus = "text.txt"\n',
    "own_sae.toml": '[subject]\nsae = "no.safetensors"\n',
    "own_corpus.toml": '[subject]\ncorpus = "no.npz"\n',
    "twin.toml": '[subject]\nuntrained = "no_twin"\n',
    "weights.toml": '[subject]\nmodel = "no/transformer.safetensors"\ncorpus = "no.npz"\n',
    "recording.toml": '[subject]\nmodel = "no.npz"\n',
    "mac.toml": '[subject]\ndevice = "mps"\n',
    "text.txt": "a text\n",
    "nothing.txt": "\n# no concept\n",
    "twice.txt": "king: The king\nKing: A king\n",
    "unprompted.txt": "king:\n",
    "blank.txt": "\ufeff\r\n \r\n",
    "sweep.toml": 'name = "s"\nn = 4\n[[sae]]\nname = "a"\nsae = "no.safetensors"\n',
    "swept.toml": 'name = "s"\nn = 4\n[subject]\nmodel = "gpt2"\nsite = "layers.0.mlp"\n'
    'corpus = "text.txt"\n[[sae]]\nname = "a"\nsae = "/no/sae"\n',
    "broken.toml": "[[sae\n",
}  # fmt: skip

UNKNOWN = "unknown run 'none'"
MAC = sys.platform == "darwin"
UNKNOWN_MAIN = "unknown run 'main'"
REFUSED = {
    "rate --wrong": "No such option: --wrong",
    "rate --n 0": "--n 0: ask for at least 1 unit",
    "rate --source none": "unknown source 'none'",
    "rate --rater none": "unknown rater 'none'",
    "rate --rubric none": "unknown rubric 'none'",
    "rate --until-width 0.6": "--until-width 0.6",
    "rate --resume --run none": UNKNOWN,
    "rate --rater human:ann --pack none": "no file none",
    "rate --rater human:ann --pack none --dry-run": "--dry-run: what a pack asks was decided",
    "rate --rater human:ann --pack none -n 5 --no-practice": "--n, --no-practice: what a pack",
    "rate --rater human:ann --pack none --rubric mine.md": "--rubric: what a pack asks was decided",
    **{
        f"{verb} --subject {file}": message
        for verb in ("rate", "harvest", "plan --write main", "rate --rater human:ann")
        for file, message in {
            "none.toml": "unknown subject 'none.toml'",
            "bad.toml": "bad.toml: subject.model = 3 must be text in quotes",
            "corpus.toml": "no.txt; give an existing path or a dataset's hub id",
            "no_corpus.toml": "[subject] names no corpus",
            "model.toml": "no/model; give an existing folder or file, or a hub id",
            "sae.toml": "no SAE at /no/sae; give an existing file or folder, or a hub id",
            "own_sae.toml": "no.safetensors; train one with `autointerp train sae`",
            "own_corpus.toml": "no.npz; make one with `autointerp train tokens`",
            "twin.toml": "no_twin holds no training.json",
            "weights.toml": "no weights at ",
            "recording.toml": "no recorded activations at ",
            **({} if MAC else {"mac.toml": "subject.device = 'mps': this machine does not"}),
        }.items()
    },
    "harvest --source none": "unknown source 'none'",
    "harvest --tokens 0.5": "--tokens 0.5: give a whole number of tokens",
    "report none": UNKNOWN,
    "report none --json": UNKNOWN,
    "show none": UNKNOWN,
    "show none abc": UNKNOWN,
    "export none --to csv": UNKNOWN,
    "pack none -o x.pack": UNKNOWN,
    "ingest none text.txt": UNKNOWN,
    "invite none --rater ann": UNKNOWN,
    "plan-humans --run none": UNKNOWN,
    "match none other": UNKNOWN,
    "map none": UNKNOWN,
    "cover text.txt --run none": UNKNOWN,
    "match one one": "run 'one' is given twice",
    "match one other --related 2": "--related 2: give a cosine between 0 and 1",
    "map --source none": "unknown source 'none'",
    "map --neighbours 1": "--neighbours 1: give 2 to 200",
    "cover none.txt": "none.txt: No such file",
    "cover .": ".: Is a directory",
    "cover /dev/zero": "/dev/zero: is no file",
    "cover nothing.txt": "nothing.txt holds no concepts",
    "cover twice.txt": "twice.txt, line 2: 'King' stands twice",
    "cover unprompted.txt": "unprompted.txt, line 1: an empty prompt",
    "cover text.txt --source none": "unknown source 'none'",
    "cover text.txt --rater none": "unknown rater 'none'",
    "cover text.txt --rater lexical": "reads no concept",
    "concepts a=re:a --run none": UNKNOWN,
    "concepts a=re:(": "is no regular expression",
    "concepts none.parquet": "no file of labels at none.parquet",
    "concepts a=re:a --over 2": "--over 2: give an AUROC",
    "concepts a=re:a --source none": "unknown source 'none'",
    "examine features/1 --probes none.txt": "--probes none.txt: is no file",
    "examine features/1 --probes blank.txt": "--probes blank.txt: holds no sentence",
    "examine features/1 --probes -": UNKNOWN_MAIN,
    "examine features/1 --run none": UNKNOWN,
    "attribute --prompt a --run none": UNKNOWN,
    "lab completions none": UNKNOWN,
    "steer features/1 --run none": UNKNOWN,
    "explain none": UNKNOWN,
    "score none": UNKNOWN,
    "doctor none": UNKNOWN,
    "import none --run main": "no file or folder none",
    "sweep none.toml": "cannot read none.toml",
    "sweep sweep.toml": "no.safetensors; train one with `autointerp train sae`",
    "sweep swept.toml": "no SAE at /no/sae; give an existing file or folder, or a hub id",
    "sweep swept.toml --dry-run": "no SAE at /no/sae",
    "sweep broken.toml": "broken.toml is not valid TOML",
    "check-rater none": "unknown rater 'none'",
    "check-rater lexical --side none": "--side none: give test or design",
    "init --model embedded -o bad.toml": "bad.toml exists; give --force",
    "init --model embedded --sae none.safetensors": "no SAE at none.safetensors",
    "init --model gpt2 --site layers.0.mlp --corpus no.txt": "no corpus at no.txt",
    "init --model /no/model --site layers.0.mlp --corpus text.txt": "no model at /no/model",
    "train tokens text.txt": "no tokenizer at",
    "train report": "no weights at",
    **{
        f"train {words} --device {device}": f"--device {device}: this machine does not have it"
        for words in ("transformer", "sae", "untrained x -o y", "report")
        for device in ("gpu", *(() if MAC else ("mps",)))
    },
    "train transformer": "no tokenizer at",
    "train sae": "no weights at",
    "train sae --model /no/model --site layers.0.mlp --corpus text.txt": "no model at /no/model",
    "train sae --model gpt2 --site layers.0.mlp --corpus no.txt": "no corpus at no.txt",
    "train untrained none -o out": "none holds no training.json",
    "tokens revoke none": "there is none",
    "jobs watch none": "unknown job 'none'",
}

REFUSE = f"""
import contextlib, io, json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in {HEAVY}:
            raise ModuleNotFoundError(f"{{name}} was imported", name=name)

sys.meta_path.insert(0, Blocker())
import functools, typer.main
from autointerp.apps.cli import _app

# Built once for all, as in the fixture `command_line`: each time takes 50 ms.
_app.build_app = functools.cache(_app.build_app)
typer.main.get_command = functools.cache(typer.main.get_command)

answers = {{}}
for command in json.loads(sys.argv[1]):
    sys.argv = ["autointerp", *command.split()]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            _app.main()
            code = 0
        except SystemExit as stopped:
            code = stopped.code
        except Exception as error:
            code, err = repr(error), err
    answers[command] = [code, err.getvalue()]
print(json.dumps(answers))
"""


def test_what_the_user_wrote_wrongly_is_refused_before_torch_pandas_or_scipy_are_imported(
    tmp_path: Path, process_environment: dict[str, str]
):
    for name, text in SETTINGS.items():
        (tmp_path / name).write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", REFUSE, json.dumps(list(REFUSED))],
        cwd=tmp_path,
        env=process_environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    wrong = {
        command: answers[command]
        for command, message in REFUSED.items()
        if answers[command][0] != 2 or message not in answers[command][1]
    }
    assert wrong == {}
    assert not list(tmp_path.glob("runs/*/run.*"))  # what is refused leaves no run
