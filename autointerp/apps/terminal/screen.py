"""The full-screen session: the machine decides what happens, this is how it looks.

Only bold, underline, reverse and dim are used, on the terminal's own colours. Text reaches the
screen through `visible` and as `rich.text.Text`, never as markup.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from autointerp.apps.terminal.layout import Line, Role, item_lines
from autointerp.apps.terminal.words import (
    DONE,
    GUESS_KEYS,
    GUESS_QUESTION,
    SKIP_REASONS,
    feedback_words,
    guess_intro_words,
    guess_words,
    progress_words,
    rubric_words,
    scale_words,
    welcome_words,
)
from autointerp.engine.signals import held_signals, pass_on
from autointerp.errors import AutointerpError
from autointerp.people.machine import Machine
from autointerp.people.session import typed_in_full
from autointerp.text import visible, visible_lines

LOOKS: dict[Role, str] = {
    "text": "",
    "number": "dim",
    "focus": "bold reverse",
    "weak": "underline",
    "middling": "bold underline",
    "strong": "bold reverse",
}
KEYS = "u undo  s skip  n describe  ? rubric  p pause  q quit  space ↑ ↓ scroll"
GUESS_KEY_LINE = "u undo  ? rubric  p pause  q quit  space ↑ ↓ scroll"


class Contexts(VerticalScroll):
    """The scrolling part; tells how many lines lie below what is seen."""

    def __init__(self, moved: Callable[[], None]) -> None:
        super().__init__(Static(id="text", markup=False), id="contexts")
        self._moved = moved

    @property
    def lines_below(self) -> int:
        return max(0, round(self.max_scroll_y - self.scroll_y))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._moved()

    def watch_virtual_size(self) -> None:
        self._moved()


class Page(ModalScreen[None]):
    """A text over the whole screen, left with a key."""

    def __init__(self, heading: str, words: str, keys: str) -> None:
        super().__init__()
        self._heading, self._words, self._keys = heading, words, keys
        self._leaving = False

    def compose(self) -> ComposeResult:
        yield Static(Text(visible(self._heading)), id="head", markup=False)
        with VerticalScroll(id="page"):
            yield Static(Text("\n".join(visible_lines(self._words))), markup=False)
        yield Static(Text(self._keys), id="keys", markup=False)

    def on_key(self, event: events.Key) -> None:
        scroll = self.query_one("#page", VerticalScroll)
        if event.key in ("up", "down", "pageup", "pagedown", "home", "end"):
            return
        event.stop()
        if self._leaving:  # a second key before the first has taken the page away
            return
        if event.key == "space" and scroll.scroll_y < scroll.max_scroll_y:
            scroll.scroll_page_down(animate=False)
        elif event.key in ("enter", "escape", "space", "q", "p", "question_mark"):
            self._leaving = True
            self.dismiss()


class Question(ModalScreen[str]):
    """One line to be typed; Escape leaves without an answer."""

    BINDINGS: ClassVar = [("escape", "leave", "leave")]

    def __init__(self, heading: str, words: str, value: str = "") -> None:
        super().__init__()
        self._heading, self._words, self._value = heading, words, value

    def compose(self) -> ComposeResult:
        yield Static(Text(self._heading), id="head", markup=False)
        with Vertical(id="page"):
            yield Static(Text(self._words), markup=False)
            yield Input(value=self._value, compact=True, select_on_focus=False)
        yield Static(Text("Enter to keep  Escape to leave"), id="keys", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        self.dismiss("")


class RatingApp(App[None]):
    """A sitting. `failure` and `signals` are what stopped it, if it was not the rater."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [("ctrl+c", "quit", "quit")]
    CSS = """
    Screen { layout: vertical; background: ansi_default; }
    #head { height: 1; text-style: reverse; }
    #question, #note, #scale, #keys { height: auto; }
    #question { text-style: bold; }
    #contexts, #page { height: 1fr; scrollbar-size: 0 0; }
    #keys, #below { text-style: dim; }
    #below { height: 1; }
    Page, Question { background: ansi_default; }
    Input { margin-top: 1; }
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__(ansi_color=True)  # said here, or NO_COLOR paints black on black
        self.machine = machine
        self.failure: AutointerpError | None = None
        self.signals: list[int] = []
        self._held = contextlib.ExitStack()
        self.theme = "ansi-dark"
        self._width = 80
        self._phase: str | None = None
        self._shown: object = None
        self._typed = ""  # of an answer that Enter gives
        self._in_full = typed_in_full(machine.keys)

    # ----------------------------------------------------------------------------- look

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        yield Static(id="question", markup=False)
        yield Static(id="note", markup=False)
        yield Contexts(self._show_below)
        yield Static(id="below", markup=False)
        yield Static(id="scale", markup=False)
        yield Static(id="keys", markup=False)

    def on_mount(self) -> None:
        self._held.enter_context(held_signals(self._stop))
        machine = self.machine
        rubric = machine.session.rubric
        self._show()
        if machine.step is None:
            self._move_on()
            return
        words = welcome_words(machine)
        if not machine.counts:
            words += "\n\n" + rubric_words(rubric)
        self._page(rubric.id, words, self._move_on)

    def on_unmount(self) -> None:
        self._held.close()

    def _stop(self, number: int) -> None:
        """Leave the terminal as it was; every answer is in the journal."""
        self.signals.append(number)
        self.exit()

    def on_resize(self, event: events.Resize) -> None:
        self._width = event.size.width
        self._show()

    def _part(self, name: str) -> Static:
        return self.screen_stack[0].query_one(name, Static)

    def _show(self) -> None:
        """Draw what is asked now."""
        machine = self.machine
        item, step = machine.item, machine.step
        if item is None or step is None:
            return
        rubric = machine.session.rubric
        guess = step.kind == "guess"
        width = max(20, self._width)
        progress = progress_words(machine.progress)
        name = visible(rubric.id)
        gap = max(1, width - len(name) - len(progress) - 2)
        self._part("#head").update(Text(f" {name}{' ' * gap}{progress} ", no_wrap=True))
        self._part("#question").update(Text(GUESS_QUESTION if guess else visible(rubric.title)))
        note = self._part("#note")
        note.display = bool(machine.description)
        note.update(Text(f"Your description: {visible(machine.description)}"))
        self._part("#text").update(text_of(item_lines(item, width)))
        self._part("#scale").update(Text(guess_words() if guess else scale_words(rubric)))
        self._part("#keys").update(Text(GUESS_KEY_LINE if guess else KEYS))
        if self._shown != step:
            self._contexts().scroll_home(animate=False)
            self._shown = step
        self._show_below()

    def _contexts(self) -> Contexts:
        return self.screen_stack[0].query_one(Contexts)

    def _show_below(self) -> None:
        if not self.screen_stack or not self.screen_stack[0].query("#below"):
            return
        lines = self._contexts().lines_below
        words = f"── {lines} more line{'s' * (lines != 1)} below ──" if lines else "──"
        self._part("#below").update(Text(words))

    def _page(self, heading: str, words: str, after: Callable[[], None] | None = None) -> None:
        keys = "Enter to go on  space ↑ ↓ scroll"

        def left(_: None) -> None:
            self.machine.touch()
            if after is not None:
                after()

        self.push_screen(Page(heading, words, keys), left)

    # ----------------------------------------------------------------------------- keys

    def on_key(self, event: events.Key) -> None:
        busy = len(self.screen_stack) > 1 or self.machine.feedback or self.machine.paused
        if busy or self.machine.step is None:
            return
        self.machine.touch()
        key = event.character or event.key
        typed, self._typed = self._typed, ""
        guess = self.machine.step.kind == "guess"
        if guess and key in GUESS_KEYS:
            self._do(lambda: self.machine.guess(GUESS_KEYS[key]))
        elif not guess and self._in_full and (key.isdecimal() or typed):
            self._type(typed, event)
        elif not guess and key in self.machine.keys:
            self._rate(self.machine.keys[key])
        elif key == "u":
            self._undo()
        elif key == "s" and self.machine.step.kind == "rating":
            self._ask_reason()
        elif key == "n" and not guess:
            self._ask_description()
        elif key == "?":
            rubric = self.machine.session.rubric
            self._page(rubric.id, rubric_words(rubric))
        elif key == "p":
            self._pause()
        elif key == "q":
            self.exit()
        elif event.key == "space":
            self._contexts().scroll_page_down(animate=False)
        elif event.key in ("up", "k"):
            self._contexts().scroll_up(animate=False)
        elif event.key in ("down", "j"):
            self._contexts().scroll_down(animate=False)
        elif event.key == "pageup":
            self._contexts().scroll_page_up(animate=False)
        elif event.key == "pagedown":
            self._contexts().scroll_page_down(animate=False)
        else:
            return
        event.prevent_default()
        event.stop()

    def _type(self, typed: str, event: events.Key) -> None:
        """Take a key of an answer of several: a digit, Enter to give it, any other to drop it."""
        if event.key == "enter" and typed in self.machine.keys:
            self._rate(self.machine.keys[typed])
            return
        words = "── nothing is typed ──"
        if event.key == "enter":
            words = f"── {typed} is not on the scale ──"
        elif event.character and event.character.isdecimal():
            self._typed = (typed + event.character)[-2:]
            words = f"── {self._typed}, Enter gives it ──"
        elif event.key == "backspace" and len(typed) > 1:
            self._typed = typed[:-1]
            words = f"── {self._typed}, Enter gives it ──"
        self._part("#below").update(Text(words))

    def _do(self, action: Callable[[], object]) -> bool:
        """Do what writes to the journal; stop the session where that fails."""
        try:
            action()
        except AutointerpError as error:
            self.failure = error
            self.exit()
            return False
        self._move_on()
        return True

    def _move_on(self) -> None:
        """Show what comes next, after what is to be said before it."""
        step = self.machine.step
        phase = step.kind if step else None
        entered = phase != self._phase
        self._phase = phase
        self._show()
        if self.machine.feedback is not None:
            return
        if step is None:
            self._page("Done", DONE, self.exit)
        elif entered and phase == "guess":
            self._page("One last question", guess_intro_words())

    def _rate(self, score: int) -> None:
        if not self._do(lambda: self.machine.rate(score)):
            return
        feedback = self.machine.feedback
        if feedback is not None:
            words = feedback_words(self.machine.session.rubric, feedback, score)
            self._page("Practice", words, self._after_feedback)

    def _after_feedback(self) -> None:
        self.machine.go_on()
        self._move_on()

    def _undo(self) -> None:
        if self.machine.can_undo:
            self._do(self.machine.undo)
        else:
            self._part("#below").update(Text("── there is nothing to take back here ──"))

    def _ask_reason(self) -> None:
        listed = "\n".join(f"{n} {reason}" for n, reason in enumerate(SKIP_REASONS, 1))

        def answered(reason: str | None) -> None:
            if reason:
                named = dict(enumerate(SKIP_REASONS, 1))
                words = named.get(int(reason), reason) if reason.isdecimal() else reason
                self._do(lambda: self.machine.skip(words))

        words = f"Why do you skip it? A number, or words of your own:\n\n{listed}"
        self.push_screen(Question("Skip", words), answered)

    def _ask_description(self) -> None:
        def answered(text: str | None) -> None:
            if text:
                self._do(lambda: self.machine.describe(text))

        words = "What is the unit about, in a few words?"
        self.push_screen(Question("Describe", words, self.machine.description), answered)

    def _pause(self) -> None:
        self.machine.pause()

        def back() -> None:
            self.machine.resume()
            self._show()

        self._page("Paused", "The time is not counted until you come back.", back)


def text_of(lines: list[Line]) -> Text:
    """Return lines as styled text; the text itself is taken as it is, markup and all."""
    text = Text(no_wrap=True)
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for piece in line:
            text.append(piece.text, LOOKS[piece.role] or None)
    return text


def run_screen(machine: Machine) -> None:
    """Run the full-screen session; raises what stopped it, if it was not the rater."""
    app = RatingApp(machine)
    app.run(mouse=False)  # the terminal's own mouse selects text, over SSH too
    if app.signals:
        pass_on(app.signals[0])
    if app.failure is not None:
        raise app.failure
