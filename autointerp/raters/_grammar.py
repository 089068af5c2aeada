"""Grammars of replies, for servers that constrain the output by a grammar.

A schema does not keep a small model from answering about contexts that do not exist until its
tokens are spent. These grammars have every context once, in order, and no space between.
"""

from __future__ import annotations

from autointerp.questions.forms import DESCRIPTIONS, LETTERS, LOUDEST
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
    if question.form == "match":
        return "\n".join([*_letter_rules(len(item.contexts), len(item.descriptions)), ""])
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


def _letter_rules(texts: int, descriptions: int) -> list[str]:
    """Return the rules of lists of some of `texts` letters, ascending, for each description.

    `first-TEXT` is a list that begins at this text or a later one, or is empty; `rest-TEXT` the
    same behind another letter.
    """
    lists = [
        f'"\\"{number}\\":\\"" ' + ("first-1 " if number <= descriptions else "") + '"\\""'
        for number in range(1, DESCRIPTIONS + 1)
    ]
    rules = ['root ::= "{" ' + ' "," '.join(lists) + ' "}"']
    for number, letter in enumerate(LETTERS[:texts], 1):
        following = number + 1
        rules += [
            f'first-{number} ::= "{letter}" rest-{following} | first-{following}',
            f'rest-{number} ::= " {letter}" rest-{following} | rest-{following}',
        ]
    return [*rules, f'first-{texts + 1} ::= ""', f'rest-{texts + 1} ::= ""']


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
