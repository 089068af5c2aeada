"""The recipes of docs/scale.md for schedulers, followed without them: the bytes of one process."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autointerp.store.run import open_run
from autointerp.units import shards as sharding

SCALE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?:^(?: {4}.*)?\n)+", SCALE, re.M)]
WORDS = "--subject autointerp.toml -s features -n 4 --controls 3 --tokens 4000"


def block_with(text: str) -> str:
    """The block of code that holds a text; blank lines within one are part of it."""
    (found,) = [block for block in BLOCKS if text in block]
    return found


def rows(name: str) -> list[Any]:
    with open_run(name, folder=Path("runs"), read_only=True) as run:
        return [run.rows(f"SELECT * FROM {t} ORDER BY ALL") for t in ("unit", "context", "silence")]


@pytest.fixture
def harvest(
    command_line: Callable[..., Any],
    tiny_settings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[list[str]], None]:
    """What runs `autointerp harvest …` in this process, in a folder with an autointerp.toml."""
    monkeypatch.setattr(sharding, "SHARD_TOKENS", 1)
    text = tiny_settings.read_text().replace('= "', f'= "{tiny_settings.parent}/')
    (tmp_path / "autointerp.toml").write_text(text)

    def run(words: list[str]) -> None:
        assert words[:2] == ["autointerp", "harvest"]
        done = command_line(*words[1:])
        assert done.code == 0, done.err

    run(["autointerp", "harvest", *shlex.split(WORDS), "-r", "one"])
    return run


def test_the_recipe_for_ray_reads_the_shards_in_any_order_and_merges_them(
    harvest: Callable[[list[str]], None], monkeypatch: pytest.MonkeyPatch
):
    """Ray itself is not installed here: what stands for it runs tasks late and backwards."""
    ray: Any = types.ModuleType("ray")
    called: list[str] = []

    class Task:
        def __init__(self, function: Any) -> None:
            self.function = function

        def remote(self, *words: str) -> Any:
            return lambda: self.function(*words)

    def get(tasks: Any) -> Any:
        return [task() for task in reversed(tasks)] if isinstance(tasks, list) else tasks()

    ray.init, ray.get = (lambda: called.append("init")), get
    ray.remote = lambda **options: Task

    really = subprocess.run

    def run(words: list[str], **options: Any) -> Any:
        if words[0] != "autointerp":
            return really(words, **options)
        assert options == {"check": True}
        called.append(words[-1])
        return harvest(words)

    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["ray_harvest.py", "3", *shlex.split(WORDS), "-r", "r"])
    exec(compile(block_with("import ray"), "ray_harvest.py", "exec"), {})
    assert called == ["init", "2/3", "1/3", "0/3", "--merge"]
    assert rows("r") == rows("one")


def test_the_recipe_for_slurm_names_each_shard_once_and_merges_with_the_same_options(
    harvest: Callable[[list[str]], None], monkeypatch: pytest.MonkeyPatch
):
    script = block_with("#SBATCH --array=0-31").replace("\\\n", " ")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    commands = re.findall(r"autointerp harvest .*", script)
    shard, merge = (command.strip().strip('"') for command in commands)
    asked = "--subject autointerp.toml -s features -n 2000"
    for task in range(3):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(task))
        monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "3")
        monkeypatch.setenv("SLURM_PROCID", "0")  # as in each batch script
        monkeypatch.setenv("SLURM_NTASKS", "1")
        assert asked in shard
        command = f'{shard}"' if shard.count('"') % 2 else shard
        harvest(shlex.split(os.path.expandvars(command.replace(asked, WORDS))))
    assert asked in merge
    harvest(shlex.split(merge.replace(asked, WORDS)))
    assert rows("big") == rows("one")
