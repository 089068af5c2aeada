"""Grammars of replies, for servers that constrain the output by a grammar.

A schema does not keep a small model from answering about contexts that do not exist until its
tokens are spent. These grammars have every context once, in order, and no space between.
"""

from __future__ import annotations

from autointerp.questions.forms import LOUDEST
from autointerp.questions.question import Question
from autointerp.records import Item


def reply_grammar(question: Question, item: Item) -> str | None:
    """Return, in llama.cpp's GBNF, what a reply about `item` may be.

    None for forms of reply that are no list: a schema bounds those.

    Source: llama.cpp, `grammars/README.md`.
    """
    if question.form == "judge":
        answers = [
            f'"{{\\"context\\":{number},\\"yes\\":" truth "}}"'
            for number in range(1, len(item.contexts) + 1)
        ]
        return "\n".join([_root("answers", answers), 'truth ::= "true" | "false"', ""])
    if question.form == "predict":
        lengths = [len(context.tokens) for context in item.contexts]
        contexts = [
            f'"{{\\"context\\":{number},\\"active\\":[" first-{length}-1 "]}}"'
            for number, length in enumerate(lengths, 1)
        ]
        rules = [_root("contexts", contexts), f'level ::= [1-9] | "{LOUDEST}"']
        for length in sorted(set(lengths)):
            rules += _token_rules(length)
        return "\n".join([*rules, ""])
    return None


def _root(name: str, parts: list[str]) -> str:
    return f'root ::= "{{\\"{name}\\":[" ' + ' "," '.join(parts) + ' "]}"'


def _token_rules(length: int) -> list[str]:
    """Return the rules of a list of some of `length` tokens, ascending, each with its level.

    `first-LENGTH-TOKEN` is a list that begins at this token or a later one, or is empty;
    `rest-LENGTH-TOKEN` the same behind another token.
    """
    rules = []
    for token in range(1, length + 1):
        this, following = f"token-{length}-{token}", f"{length}-{token + 1}"
        rules += [
            f'{this} ::= "{{\\"token\\":{token},\\"activation\\":" level "}}"',
            f"first-{length}-{token} ::= {this} rest-{following} | first-{following}",
            f'rest-{length}-{token} ::= "," {this} rest-{following} | rest-{following}',
        ]
    end = f"{length}-{length + 1}"
    return [*rules, f'first-{end} ::= ""', f'rest-{end} ::= ""']
