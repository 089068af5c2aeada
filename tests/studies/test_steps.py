"""The driver of studies: what is done is not done again, and what was stopped resumes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from studies.steps import Command, Place, Say, Step, StepFailed, conduct, listing, main


class Script:
    """A runner in place of processes: `touch NAME` makes a file, `fail` fails."""

    def __init__(self) -> None:
        self.ran: list[Command] = []

    def __call__(self, command: Command, folder: Path, say: Say) -> int:
        self.ran.append(command)
        say(f"ran {' '.join(command)}")
        if command[0] == "fail":
            return 3
        (folder / command[1]).touch()
        return 0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "build/some")


STEPS = (
    Step("one", "the first", (("touch", "a"), ("touch", "b")), ("a", "b")),
    Step("two", "the second", (("touch", "c"),), ("c",)),
)


def silent(text: str) -> None:
    """Print nothing."""


def test_a_second_run_does_nothing(place: Place):
    first, second = Script(), Script()
    conduct(STEPS, place, silent, run=first)
    conduct(STEPS, place, silent, run=second)
    assert first.ran == [("touch", "a"), ("touch", "b"), ("touch", "c")]
    assert second.ran == []


def test_a_failed_command_stops_the_study_and_its_step_is_done_anew(place: Place):
    broken = (STEPS[0], replace(STEPS[1], commands=(("fail",),)), STEPS[0])
    script = Script()
    with pytest.raises(StepFailed, match=r"step 'two': `fail` ended with 3; see .*two\.txt"):
        conduct(broken, place, silent, run=script)
    conduct(STEPS, place, silent, run=script)
    assert script.ran[-2:] == [("fail",), ("touch", "c")]


def test_a_step_that_did_not_make_what_it_should_is_not_done(place: Place):
    short = (replace(STEPS[0], makes=("a", "missing")),)
    with pytest.raises(StepFailed, match="did not make missing"):
        conduct(short, place, silent, run=Script())
    assert not place.stamp(short[0]).exists()


def test_a_step_done_by_other_commands_is_named_with_its_stamp(place: Place):
    conduct(STEPS, place, silent, run=Script())
    other = (replace(STEPS[0], commands=(("touch", "a"), ("touch", "b2")), makes=()), STEPS[1])
    with pytest.raises(StepFailed, match=r"step 'one' was done by other commands.*one\.json"):
        conduct(other, place, silent, run=Script())


def test_a_step_whose_files_are_other_ones_is_not_passed_over(place: Place):
    written = replace(STEPS[0], files={"settings.toml": "n = 1\n"})
    conduct((written,), place, silent, run=Script())
    assert (place.folder / "settings.toml").read_text() == "n = 1\n"
    with pytest.raises(StepFailed, match="other commands"):
        conduct(
            (replace(written, files={"settings.toml": "n = 2\n"}),), place, silent, run=Script()
        )


def test_what_a_done_step_made_and_somebody_removed_is_named(place: Place):
    conduct(STEPS, place, silent, run=Script())
    (place.folder / "b").unlink()
    with pytest.raises(StepFailed, match="'one' is done, and b is gone"):
        conduct(STEPS, place, silent, run=Script())


def test_a_study_stops_after_a_named_step_or_does_it_alone(place: Place):
    script = Script()
    conduct(STEPS, place, silent, last="two", only=True, run=script)
    assert script.ran == [("touch", "c")]
    conduct(STEPS, place, silent, last="one", run=script)
    assert script.ran == [("touch", "c"), ("touch", "a"), ("touch", "b")]
    with pytest.raises(StepFailed, match="step 'three' is none of one, two"):
        conduct(STEPS, place, silent, last="three", run=script)


def test_a_log_keeps_commands_and_what_they_printed(place: Place):
    conduct(STEPS, place, silent, run=Script())
    log = place.log(STEPS[0]).read_text("utf-8")
    assert log == "$ touch a\nran touch a\n$ touch b\nran touch b\n"


def test_a_listing_has_the_lines_to_copy_and_what_is_done(place: Place):
    conduct(STEPS, place, silent, last="one", run=Script())
    lines = listing(STEPS, place).splitlines()
    assert lines[0].startswith("one: the first  (done 20")
    assert lines[1:] == ["    touch a", "    touch b", "two: the second", "    touch c"]


def test_commands_run_in_processes_with_the_repository_on_their_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code = "import pathlib, studies; pathlib.Path('made').touch(); print('here')"

    def make(tiny: bool) -> Sequence[Step]:
        return [Step("one", f"tiny is {tiny}", (("python", "-c", code),), ("made",))]

    arguments = ("--tiny", "--folder", str(tmp_path))
    assert main("study", "what", make, "state", arguments) == 0
    printed = capsys.readouterr().out
    assert "== one: tiny is True" in printed
    assert "\nhere\n" in printed
    took = json.loads((tmp_path / "state" / "done" / "one.json").read_text("utf-8"))
    assert set(took) == {"content", "finished", "wall_s", "cpu_s"}


def test_a_wrong_step_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main("study", "what", lambda tiny: STEPS, "s", ("--folder", str(tmp_path), "no")) == 2
    assert capsys.readouterr().err == "study: step 'no' is none of one, two\n"
