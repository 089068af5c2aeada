"""The full-screen session: the machine decides what happens, this is how it looks.

Only bold, underline, reverse and dim are used, on the terminal's own colours. Text reaches the
screen through `visible` and as `rich.text.Text`, never as markup.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
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
    GUESS_WORDS,
    NO_MORE,
    PART_KEYS,
    SKIP_REASONS,
    feedback_words,
    guess_intro_words,
    level_words,
    part_words,
    progress_words,
    rubric_words,
    turn_part,
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
    "around": "dim",
    "faint": "dim underline",
    "weak": "underline",
    "middling": "bold underline",
    "strong": "reverse",
    "strongest": "bold reverse",
}
KEY_WORDS = {
    "u": "undo", "s": "skip", "n": "describe", "m": "more", "x": "leave out", "?": "rubric",
    "p": "pause", "q": "quit",
}  # fmt: skip
SCROLL = "space ↑ ↓ scroll"


class Scrolled(VerticalScroll):
    """A scrolling part that tells when what lies above or below it may have changed."""

    def __init__(self, moved: Callable[[], None], id: str) -> None:
        super().__init__(Static(id=f"{id}-text", markup=False), id=id)
        self._moved = moved

    @property
    def lines_above(self) -> int:
        return max(0, round(self.scroll_y))

    @property
    def lines_below(self) -> int:
        return max(0, round(self.max_scroll_y - self.scroll_y))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._moved()

    def watch_virtual_size(self) -> None:
        self._moved()

    def on_resize(self) -> None:
        self._moved()


class Contexts(Scrolled):
    """The contexts. How many lines there are is known, so nothing waits for a layout."""

    lines = 0

    @property
    def height(self) -> int:
        """Lines that are seen at a time."""
        return self.size.height

    @property
    def lines_below(self) -> int:
        return max(0, self.lines - self.height - self.lines_above)


def hidden_words(above: int, below: int) -> str:
    """Return how many lines are not seen, as a rule across the screen."""
    parts = [f"{n} more line{'s' * (n != 1)} {where}"
             for n, where in ((above, "above"), (below, "below")) if n]  # fmt: skip
    return f"── {', '.join(parts)} ──" if parts else "──"


class Page(ModalScreen[str]):
    """A text over the whole screen, left with a key; dismissed with that of `also`, or nothing."""

    def __init__(self, heading: str, words: str, keys: str, also: str = "") -> None:
        super().__init__()
        self._heading, self._words, self._keys, self._also = heading, words, keys, also
        self._leaving = False

    def compose(self) -> ComposeResult:
        yield Static(Text(visible(self._heading)), id="head", markup=False)
        yield Scrolled(self._show_below, "page")
        yield Static(id="below", markup=False)
        yield Static(Text(self._keys), id="keys", markup=False)

    def on_mount(self) -> None:
        words = Text("\n".join(visible_lines(self._words)))
        self.query_one("#page-text", Static).update(words)

    def _show_below(self) -> None:
        self.call_after_refresh(self._show_below_now)

    def _show_below_now(self) -> None:
        if self._leaving or not self.query("#below"):
            return
        scroll = self.query_one("#page", Scrolled)
        words = hidden_words(scroll.lines_above, scroll.lines_below)
        self.query_one("#below", Static).update(Text(words))

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
            self._leave("")
        elif event.character and event.character in self._also:
            self._leave(event.character)

    def on_click(self) -> None:
        if not self._leaving:
            self._leave("")

    def _leave(self, key: str) -> None:
        self._leaving = True
        self.dismiss(key)


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
        self.dismiss(None)


class Parts(ModalScreen[str]):
    """The parts of a sitting, marked where they are asked; a letter turns one, Enter leaves."""

    def __init__(self, words: Callable[[], str], turn: Callable[[str], str]) -> None:
        super().__init__()
        self._words, self._turn = words, turn

    def compose(self) -> ComposeResult:
        yield Static(Text("Leave out"), id="head", markup=False)
        with Vertical(id="page"):
            yield Static(Text("Asked where marked. A letter changes it:\n"), markup=False)
            yield Static(Text(self._words()), id="parts", markup=False)
            yield Static(id="turned", markup=False)
        yield Static(Text("t r g change a part  Enter to go on"), id="keys", markup=False)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        if event.key in ("enter", "escape", "space", "q", "x"):
            self.dismiss("")
        elif event.character and event.character in PART_KEYS:
            said = self._turn(event.character)
            self.query_one("#parts", Static).update(Text(self._words()))
            self.query_one("#turned", Static).update(Text(f"\n{said}"))


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
    Page, Question, Parts { background: ansi_default; }
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
        self._narrowed: object = None  # the step whose contexts were shown whole, and are not now
        self._told = ""  # what the last key came to, until the next one

    # ----------------------------------------------------------------------------- look

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        yield Static(id="question", markup=False)
        yield Static(id="note", markup=False)
        yield Contexts(self._show_contexts, "contexts")
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
        self._page(rubric.id, words, self._begin, also="x")

    def _begin(self) -> None:
        """Leave the page of welcome: reading it is not the first item's time."""
        self.machine.go_on()
        self._move_on()

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
        words = {k: GUESS_WORDS[g] for k, g in GUESS_KEYS.items()} if guess else level_words(rubric)
        scale = {key: f"{key} {label}" for key, label in words.items()}
        self._part("#scale").update(self._choices(scale, "   ", width=width))
        self._part("#keys").update(self._key_line(width, guess))
        if self._shown != step:
            self._contexts().scroll_home(animate=False)
            self._shown = step
        self._show_contexts()

    def _key_line(self, width: int, guess: bool) -> Text:
        """Return the keys on one line: where not all fit, those that are needed most."""
        keys = [key for key in KEY_WORDS if not (guess and key in "sn")]
        if not self.machine.around:
            keys.remove("m")
        if not part_words(self.machine):
            keys.remove("x")
        line = "  ".join(f"{key} {KEY_WORDS[key]}" for key in keys)
        scroll = f"  {SCROLL}"
        if len(line) + len(scroll) > width:
            scroll = ""
        if len(line) > width:  # the page of the rubric names all
            keys = [key for key in keys if key not in "xp"]
        return self._choices({key: f"{key} {KEY_WORDS[key]}" for key in keys}, "  ", scroll)

    @staticmethod
    def _choices(labels: dict[str, str], gap: str, end: str = "", width: int = 0) -> Text:
        """Return labels side by side; a click on one is its key. With a `width` a label that does
        not fit begins a line, so that no key stands apart from its words."""
        text = Text()
        used = 0
        for key, label in labels.items():
            size = cell_len(label)
            if used:
                breaks = 0 < width < used + cell_len(gap) + size
                text.append("\n" if breaks else gap)
                used = 0 if breaks else used + cell_len(gap)
            text.append(label, Style(meta={"key": key}))
            used += size
        text.append(end)
        return text

    def _show_contexts(self) -> None:
        """Draw the contexts for the room that they have, and say what of them is not seen."""
        item = self.machine.item
        if item is None or not self.screen_stack or not self.screen_stack[0].query("#below"):
            return
        contexts = self._contexts()
        wide = self.machine.widened and self.machine.step != self._narrowed
        around = self.machine.around if wide else ()
        lines = item_lines(item, max(20, self._width), around, contexts.height)
        contexts.lines = len(lines)
        self._part("#contexts-text").update(text_of(lines))
        self._show_below()

    def _contexts(self) -> Contexts:
        return self.screen_stack[0].query_one(Contexts)

    def _show_below(self) -> None:
        contexts = self._contexts()
        words = hidden_words(contexts.lines_above, contexts.lines_below)
        # What is hidden comes first: a narrow screen cuts what was said, and never that.
        said = f"{words.removesuffix('──')}── {self._told} ──" if self._told else words
        self._part("#below").update(Text(said.replace("────", "──"), no_wrap=True))

    def _say(self, words: str) -> None:
        """Say what a key came to, until the next key."""
        self._told = words
        self._show_below()

    def _page(
        self,
        heading: str,
        words: str,
        after: Callable[[], None] | None = None,
        also: str = "",
    ) -> None:
        keys = "Enter to go on  space ↑ ↓ scroll" + ("  x leave out parts" if "x" in also else "")

        def left(key: str | None) -> None:
            self.machine.touch()
            if after is not None:
                after()
            if key == "x":
                self._ask_part()

        self.push_screen(Page(heading, words, keys, also), left)

    # ----------------------------------------------------------------------------- keys

    def on_key(self, event: events.Key) -> None:
        if self._take(event.character or event.key, event.key):
            event.prevent_default()
            event.stop()

    def on_click(self, event: events.Click) -> None:
        """Take a click on a level or on the name of a key as that key."""
        key = event.style.meta.get("key")
        if key is not None:
            for one in str(key):
                self._take(one, one)
            if self._typed:
                self._take("enter", "enter")

    def _take(self, key: str, name: str) -> bool:
        """Do what a key asks for; False where it asks for nothing. `name` is Textual's."""
        busy = len(self.screen_stack) > 1 or self.machine.feedback or self.machine.paused
        if busy or self.machine.step is None:
            return False
        self.machine.touch()
        typed, self._typed, self._told = self._typed, "", ""
        guess = self.machine.step.kind == "guess"
        scroll = {
            "space": "page_down", "pagedown": "page_down", "pageup": "page_up", "up": "up",
            "k": "up", "down": "down", "j": "down", "home": "home", "end": "end",
        }  # fmt: skip
        if guess and key in GUESS_KEYS:
            self._do(lambda: self.machine.guess(GUESS_KEYS[key]))
        elif not guess and self._in_full and (key.isdecimal() or typed):
            self._type(typed, key, name)
        elif not guess and key in self.machine.keys:
            self._rate(self.machine.keys[key])
        elif key == "u":
            self._undo()
        elif key == "s" and self.machine.step.kind == "rating":
            self._ask_reason()
        elif key == "n" and not guess:
            self._ask_description()
        elif key == "m":
            self._more()
        elif key == "x":
            self._ask_part()
        elif key == "?":
            rubric = self.machine.session.rubric
            keys = "   ".join(f"{k} {word}" for k, word in KEY_WORDS.items())
            self._page(rubric.id, f"{rubric_words(rubric)}\n\nKeys: {keys}   {SCROLL}")
        elif key == "p":
            self._pause()
        elif key == "q":
            self.exit()
        elif name in scroll:
            getattr(self._contexts(), f"scroll_{scroll[name]}")(animate=False)
        else:
            return False
        return True

    def _type(self, typed: str, key: str, name: str) -> None:
        """Take a key of an answer of several: a digit, Enter to give it, any other to drop it."""
        if name == "enter" and typed in self.machine.keys:
            self._rate(self.machine.keys[typed])
            return
        words = "nothing is typed"
        if name == "enter":
            words = f"{typed} is not on the scale"
        elif key.isdecimal():
            self._typed = (typed + key)[-2:]
            words = f"{self._typed}, Enter gives it"
        elif name == "backspace" and len(typed) > 1:
            self._typed = typed[:-1]
            words = f"{self._typed}, Enter gives it"
        self._say(words)

    def _more(self) -> None:
        """Show more of the contexts, or less again; the record says that it was asked for."""
        step = self.machine.step
        if not self.machine.around:
            self._say(NO_MORE[:-1].lower())
            return
        narrows = self.machine.widened and self._narrowed != step
        if not self.machine.widened and not self._do(self.machine.widen):
            return
        self._narrowed = step if narrows else None
        self._contexts().scroll_home(animate=False)
        self._show_contexts()

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
            # A digit leaves the page too, and answers nothing: no item was shown yet.
            self._page("One last question", guess_intro_words(), also="".join(GUESS_KEYS))

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
            self._say("there is nothing to take back here")

    def _ask_part(self) -> None:
        if not part_words(self.machine):
            self._say("nothing here can be left out")
            return

        def turn(key: str) -> str:
            try:
                return turn_part(self.machine, key)
            except AutointerpError as error:
                self.failure = error
                self.exit()
                return ""

        def left(_: str | None) -> None:
            self.machine.touch()
            self._move_on()

        self.push_screen(Parts(lambda: part_words(self.machine), turn), left)

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
            if text is not None and text != self.machine.description:
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


def run_screen(machine: Machine, mouse: bool = False) -> None:
    """Run the full-screen session; raises what stopped it, if it was not the rater.

    Without `mouse` the terminal's own selects text, over SSH too.
    """
    app = RatingApp(machine)
    app.run(mouse=mouse)
    if app.signals:
        pass_on(app.signals[0])
    if app.failure is not None:
        raise app.failure
