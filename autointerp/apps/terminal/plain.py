"""A sitting as plain lines: for screen readers, pipes and terminals that can do nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from autointerp.apps.terminal.layout import RESERVED, token_pieces
from autointerp.apps.terminal.words import (
    DONE,
    GUESS_KEYS,
    GUESS_QUESTION,
    NO_MORE,
    SKIP_REASONS,
    feedback_words,
    guess_intro_words,
    guess_words,
    part_words,
    progress_words,
    rubric_words,
    scale_words,
    turn_part,
    welcome_words,
)
from autointerp.people.machine import Machine
from autointerp.people.session import Around
from autointerp.records import Item
from autointerp.text import visible, visible_lines

COMMANDS = (
    "u undo, s REASON skip, n TEXT describe, m more of the contexts, x PART leave out "
    "(t practice, r repeats, g guesses), ? rubric, p pause, q quit"
)
GUESS_COMMANDS = "u undo, m more of the contexts, x g leave these out, ? rubric, p pause, q quit"


def run_plain(machine: Machine, answers: TextIO, out: TextIO) -> None:
    """Ask until all is done, `q` is said or the answers end. One answer a line."""
    _PlainSitting(machine, answers, out).run()


class _PlainSitting:
    def __init__(self, machine: Machine, answers: TextIO, out: TextIO) -> None:
        self.machine = machine
        self.answers = answers
        self.out = out

    def run(self) -> None:
        machine = self.machine
        rubric = machine.session.rubric
        if machine.step is not None:
            if not machine.counts:
                self._tell(rubric.title, "", *visible_lines(rubric_words(rubric)), "")
            self._tell(welcome_words(machine), "")
            machine.go_on()
        phase = None
        while machine.step is not None and machine.item is not None:
            if machine.step.kind == "guess" and phase != "guess":
                self._tell(guess_intro_words(), "")
            phase = machine.step.kind
            self._show(machine.item)
            here = machine.step
            while machine.step == here:
                if not self._ask():
                    return
        self._tell(DONE)

    def _tell(self, *lines: str) -> None:
        self.out.write("".join(line + "\n" for line in lines))
        self.out.flush()

    def _show(self, item: Item) -> None:
        guess = self.machine.step is not None and self.machine.step.kind == "guess"
        self._tell(f"--- {progress_words(self.machine.progress)} ---", *plain_lines(item))
        if self.machine.description:
            self._tell(f"Your description: {visible(self.machine.description)}")
        if guess:
            self._tell(GUESS_QUESTION, guess_words())
        else:
            self._tell(self.machine.session.rubric.title, scale_words(self.machine.session.rubric))

    def _ask(self) -> bool:
        """Read a line and do what it says; False to stop."""
        machine = self.machine
        guess = machine.step is not None and machine.step.kind == "guess"
        self._tell(f"Answer, or {GUESS_COMMANDS if guess else COMMANDS}:")
        line = self.answers.readline()
        if not line:
            return False
        machine.touch()
        command, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if command == "q":
            return False
        if command == "?":
            self._tell(*visible_lines(rubric_words(machine.session.rubric)))
        elif command == "p":
            return self._pause()
        elif command == "m":
            self._more()
        elif command == "x":
            self._turn(rest)
        elif command == "u":
            if not machine.undo():
                self._tell("There is nothing to take back here.")
        elif guess and command in GUESS_KEYS and not rest:
            machine.guess(GUESS_KEYS[command])
        elif not guess and command in machine.keys and not rest:
            return self._rate(machine.keys[command])
        elif not guess and command == "n" and (rest or machine.description):
            machine.describe(rest)
        elif not guess and command == "s":
            self._skip(rest)
        else:
            self._tell(f"'{visible(line.strip())}' is no answer here.")
        return True

    def _turn(self, part: str) -> None:
        """Leave a part out or take it up again, where one is named; say which are asked."""
        if part:
            self._tell(turn_part(self.machine, part))
        listed = part_words(self.machine)
        if listed:
            self._tell("Asked where marked; x and a letter changes it:", *listed.split("\n"))
        elif not part:
            self._tell("Nothing here can be left out.")

    def _more(self) -> None:
        item = self.machine.item
        if item is not None and self.machine.widen():
            self._tell(*plain_lines(item, self.machine.around))
        else:
            self._tell(NO_MORE)

    def _rate(self, score: int) -> bool:
        self.machine.rate(score)
        feedback = self.machine.feedback
        if feedback is None:
            return True
        words = feedback_words(self.machine.session.rubric, feedback, score)
        self._tell(*visible_lines(words), "Enter to go on:")
        line = self.answers.readline()
        self.machine.go_on()
        return bool(line) and line.strip() != "q"

    def _skip(self, reason: str) -> None:
        if self.machine.step is not None and self.machine.step.kind == "training":
            self._tell("Practice items cannot be skipped.")
        elif reason:
            numbered = dict(enumerate(SKIP_REASONS, 1))
            self.machine.skip(numbered.get(int(reason), reason) if reason.isdecimal() else reason)
        else:
            self._tell("Say why: s 1, s 2, s 3, or s and words of your own.")
            self._tell(*(f"{n} {reason}" for n, reason in enumerate(SKIP_REASONS, 1)))

    def _pause(self) -> bool:
        self.machine.pause()
        self._tell("Paused; the time is not counted. Enter to go on:")
        line = self.answers.readline()
        self.machine.resume()
        return bool(line)


def plain_lines(item: Item, around: Sequence[Around] = ()) -> list[str]:
    """Return an item as lines that make sense when read aloud, with the text `around` contexts."""
    lines = []
    if item.description is not None:
        lines.append(f"Proposed description: {visible(item.description)}")
    for number, context in enumerate(item.contexts, 1):
        label = f"Context {number} of {len(item.contexts)}"
        if context.focus is not None:
            label += f", marked token '{visible(context.tokens[context.focus]).strip()}'"
        text = "".join(piece.text for piece in token_pieces(context))
        if around:
            before, after = (visible(one, reserved=RESERVED) for one in around[number - 1])
            text = before + text + after
        lines += [label + ":", "  " + text]
        if context.activations is not None:
            strong = [
                f"'{visible(token).strip()}' {level:.0f}"
                for token, level in zip(context.tokens, context.activations, strict=True)
                if level > 0
            ]
            lines.append("  Strength, of 10: " + (", ".join(strong) or "silent"))
    return lines
