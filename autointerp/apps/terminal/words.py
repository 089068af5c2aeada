"""What people read: the rubric without what is for models, and the session's own words."""

from __future__ import annotations

from autointerp.apps.terminal.layout import CLOSE, OPEN
from autointerp.people.machine import DECLINABLE, Machine, Progress, many_words, parts_text
from autointerp.people.session import Part, Training, answer_keys, typed_in_full
from autointerp.questions.guess import GUESSES
from autointerp.questions.rubric import PLACEHOLDER, Rubric

SKIP_REASONS = (
    "a language or notation that I cannot read",
    "broken or unreadable text",
    "upsetting content",
)
GUESS_QUESTION = "What was this: a feature, a neuron, or a control made to look like one?"
GUESS_WORDS = {
    "feature": "a feature of an autoencoder",
    "neuron": "a neuron",
    "control": "a control",
    "unknown": "don't know",
}
GUESS_KEYS = {str(place): guess for place, guess in enumerate(GUESSES, 1)}
DONE = "That was all: every item is rated. Thank you."
PART_KEYS: dict[str, Part] = {"t": "practice", "r": "repeats", "g": "guesses"}
NO_MORE = "There is no more of these contexts."
PHASES = {"training": "practice", "rating": "item", "guess": "last question"}


def level_words(rubric: Rubric) -> dict[str, str]:
    """Return by key what each level is called: its label up to the colon."""
    keys = {score: key for key, score in answer_keys(rubric).items()}
    return {keys[score]: label.partition(":")[0].strip() for score, label in rubric.scale}


def scale_words(rubric: Rubric) -> str:
    """Return the scale on a line."""
    return "   ".join(f"{key} {label}" for key, label in level_words(rubric).items())


def guess_words() -> str:
    """Return the answers of the blinding check on a line."""
    return "   ".join(f"{key} {GUESS_WORDS[guess]}" for key, guess in GUESS_KEYS.items())


def rubric_words(rubric: Rubric, on_page: bool = False) -> str:
    """Return the rubric as people read it: what is shown and how to answer are put their way, for a
    terminal or a page."""
    labels = dict(rubric.scale)
    keys = answer_keys(rubric)
    shows = rubric.shows
    shown = f"You see at most {shows.contexts} contexts, strongest first."
    if shows.mark and on_page:
        shown += " The token in question is marked."
    elif shows.mark:
        shown += f" The token in question stands between {OPEN} and {CLOSE}."
    if shows.activations == "scaled":
        shown += " A small digit after a token says how strongly the unit fires on it, up to ₁₀."
    end = "⏎" if on_page else "↵"
    shown += (
        f" Line ends are shown as {end}, tabs as ⇥, and what has no shape of its own by its number."
        " m shows more of each context, where there is more."
    )
    answer = "the number and Enter" if typed_in_full(keys) else "the digit"
    if on_page:
        answer += ", or tap a level"
    parts = {
        "scale": "\n".join(f"{key} = {labels[score]}" for key, score in keys.items()),
        "shown": shown,
        "reply": f"Answer with {answer}. With n you may say in a few words what the unit is about.",
    }
    return PLACEHOLDER.sub(lambda match: parts[match[1]], rubric.text)


def welcome_words(machine: Machine) -> str:
    """Return what is said before the first item of a sitting: how much is asked, part by part."""
    again = "Welcome back. " if machine.counts else ""
    asked = parts_text(machine.parts, machine.declined)
    names = [part for part in PART_KEYS.values() if machine.parts[part]]
    leave = f"With x you leave out {' or '.join(names)}, now or later. " if names else ""
    return (
        f"{again}{asked}. About {duration(machine.progress.left_s)} of work. {leave}"
        "Stop whenever you like: every answer is safe as soon as the next item appears, and the "
        "same command goes on from there."
    )


def part_words(machine: Machine) -> str:
    """Return which parts can be left out, or taken up again, a line each with a mark where it is
    asked; empty if none."""
    lines = []
    for key, part in PART_KEYS.items():
        left = machine.parts[part]
        if part in DECLINABLE and left:
            mark = " " if part in machine.declined else "x"
            lines.append(f"[{mark}] {key}  {many_words(part, left)}")
    return "\n".join(lines)


def turn_part(machine: Machine, key: str) -> str:
    """Leave a part out, or take it up again; return what was done, in words."""
    part = PART_KEYS.get(key.strip())
    if part is None:
        return f"Name a part: {', '.join(f'{k} {p}' for k, p in PART_KEYS.items())}."
    if machine.accept(part):
        return f"Taken up again: {many_words(part, machine.parts[part])}."
    left = machine.parts[part]
    if machine.decline(part):
        return f"Left out: {many_words(part, left)}."
    return f"Nothing is left of the {part}."


def feedback_words(rubric: Rubric, training: Training, given: int | None) -> str:
    """Return what is said after a training item."""
    labels = dict(rubric.scale)
    keys = {score: key for key, score in answer_keys(rubric).items()}
    verdict = (
        "That is the rubric's answer too."
        if given == training.score
        else f"The rubric's answer is {keys[training.score]}."
    )
    yours = f"You gave {keys[given]}: {labels[given]}.\n\n" if given is not None else ""
    return (
        f"{yours}{verdict} {training.why}\n\n"
        f"{keys[training.score]} = {labels[training.score]}\n\n"
        "Practice only: this item is not counted."
    )


def guess_intro_words() -> str:
    """Return what is said before the blinding check."""
    return (
        "All items are rated. One last question about each of them, quickly: the units were "
        "features of an autoencoder, neurons, or controls made to look like one of them. Which "
        "was it? If you cannot tell, say so: that is the answer we hope for. Your ratings stand "
        "as they are, whatever you guess. x and then g leaves these questions out."
    )


def progress_words(progress: Progress) -> str:
    """Return progress, pace and time left, such as `item 12 of 47 · 2.1 a minute · 17 min left`."""
    if progress.phase is None:
        return "done"
    parts = [f"{PHASES[progress.phase]} {progress.done + 1} of {progress.total}"]
    if progress.per_minute is not None:
        parts.append(f"{progress.per_minute:.1f} a minute")
    parts.append(f"{duration(progress.left_s)} left")
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """Return a time in words, to the minute."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "under a minute"
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"
