"""The one JSON object in a model's text: read where its meaning is beyond doubt, else refused.

Round the object may stand what servers and models are known to add, and what says nothing of the
answer: reasoning that the model closed itself, a Markdown fence, a byte order mark, the token that
ends a turn. Whatever leaves a doubt about the answer, such as two objects, a key that stands twice
or another number outside the object, is refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Reasoning between tags, as the models write them. A chat template may have opened it already.
THOUGHTS = re.compile(
    r"""\s*(?:
        <(?P<tag>think|thinking|thought|thoughts|reasoning|seed:think|analysis)>
            .*? </(?P=tag)>
      | \u25c1think\u25b7 .*? \u25c1/think\u25b7
      | \[THINK\] .*? \[/THINK\]
      | <\|START_THINKING\|> .*? <\|END_THINKING\|>
      | <\|begin_of_thought\|> .*? <\|end_of_thought\|>
    )\s*""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
THOUGHTS_END = re.compile(
    "</(?:think|thinking|seed:think)>|\u25c1/think\u25b7|\\[/THINK\\]|<\\|END_THINKING\\|>",
    re.IGNORECASE,
)
# The channels of gpt-oss ("harmony"), where a server passes them on as they are.
CHANNEL = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>")
FINAL_CHANNEL = re.compile(r"<\|channel\|>final(?: ?<\|constrain\|>\w{0,20})?\s{0,9}<\|message\|>")
END_OF_TURN = re.compile(
    "(?:<\\|[A-Za-z_]{2,40}\\|>|<\uff5c[\\w\u2581]{2,40}\uff5c>|</s>|<eos>|<end_of_turn>|\\[EOS\\])\\Z"
)
LONGEST_END = 50  # characters of such a token
MARKS = "\ufeff\u200b\x00"  # byte order mark, zero-width space and padding, at either end
FENCES = ("```", "~~~")
LANGUAGE = re.compile(r"[ \t]*[A-Za-z0-9_+-]{0,12}\s")
# Round a fence, words that could be another answer: figures, numbers, a second object.
DOUBT = re.compile(
    r"[\d{}\[\]`]|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|true|false|yes|no"
    r"|not|unknown|but|however|actually|instead|wait|rather|wrong|correction|or)\b",
    re.IGNORECASE,
)
# A backslash that begins no escape of JSON, as in LaTeX: it can only be meant as itself.
ILLEGAL_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|(\\)')
WHOLE = re.compile(r"[-+]?[0-9]{1,6}(?:\.0{1,6})?")
TRUTHS = {"true": True, "yes": True, "false": False, "no": False}


class Unreadable(Exception):
    """Raised for a reply that cannot be read; the text says why in a few words."""


def object_in(text: str) -> dict[str, Any]:
    """Return the fields of the one JSON object that a reply is.

    Raises Unreadable with a few words if it is none, or if its meaning is in doubt.
    """
    text = text.strip().strip(MARKS).strip()
    if not text:
        raise Unreadable("the reply is empty")
    try:
        return _parsed(text)
    except Unreadable as error:
        rest = _unwrapped(text)
        if rest == text:
            raise
        problem = error
    try:
        return _parsed(rest)
    except Unreadable as error:
        raise (error if rest else problem) from None


def answer_start(text: bytes) -> int:
    """Return where the answer begins in a text: after the reasoning, if the model closed it."""
    spoken = text.decode("utf-8", "replace")
    cut = _after_thoughts(spoken)
    return len(text) - len(cut.encode("utf-8", "replace")) if cut != spoken else 0


def whole_number(value: Any) -> int | None:
    """Return the whole number that a field holds: 4, 4.0 or "4"; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and WHOLE.fullmatch(value.strip()):
        return int(float(value))
    return None


def number(value: Any) -> float | None:
    """Return the number that a field holds, as itself or as text; None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,6}(?:\.[0-9]{1,9})?", value.strip()):
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def truth(value: Any) -> bool | None:
    """Return true or false as a field says it, in words too; None for anything else."""
    if isinstance(value, str):
        return TRUTHS.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _unwrapped(text: str) -> str:
    """Return the text without what stands round the answer; what is in doubt is left."""
    text = _after_thoughts(text).strip()
    while END_OF_TURN.search(text[-LONGEST_END:]):
        text = text[: text.rindex("[EOS]" if text.endswith("[EOS]") else "<")].rstrip()
    text = text.strip(MARKS).strip()
    return next((inner for fence in FENCES if (inner := _inside(text, fence))), text)


def _inside(text: str, fence: str) -> str | None:
    """Return what the only fence in `text` holds, if no words round it could be an answer too."""
    first, last = text.find(fence), text.rfind(fence)
    if not 0 <= first < last or DOUBT.search(text[:first] + " " + text[last + len(fence) :]):
        return None
    inner = text[first + len(fence) : last]
    named = LANGUAGE.match(inner)
    return (inner[named.end() :] if named else inner).strip()


def _after_thoughts(text: str) -> str:
    """Return what follows a model's reasoning; all of the text where none was closed."""
    if CHANNEL.match(text):
        finals = list(FINAL_CHANNEL.finditer(text))
        return text[finals[0].end() :] if len(finals) == 1 else text
    thought = THOUGHTS.match(text)
    if thought:
        return text[thought.end() :]
    ends = list(THOUGHTS_END.finditer(text))
    if len(ends) == 1 and not text.lstrip().startswith(("{", "`", "~", "[")):
        return text[ends[0].end() :]  # the chat template had opened it
    return text


def _parsed(text: str) -> dict[str, Any]:
    try:
        fields = _loaded(text)
    except (ValueError, RecursionError) as error:
        try:
            fields = _loaded(ILLEGAL_ESCAPE.sub(_escaped, text))
        except (ValueError, RecursionError):
            raise Unreadable(f"not a JSON object ({error})") from None
    if not isinstance(fields, dict):
        raise Unreadable("JSON, but not an object")
    return fields


def _loaded(text: str) -> Any:
    return json.loads(
        text,
        object_pairs_hook=_once_each,
        parse_constant=_reject_constant,
        strict=False,  # a line break within a text is one
    )


def _escaped(found: re.Match[str]) -> str:
    return "\\\\" if found[1] else found[0]


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands twice")
    return fields


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
