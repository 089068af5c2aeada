"""`Evaluator`: SAE checkpoints of a training loop, rated against the neurons of their site."""

from __future__ import annotations

import hashlib
import json
import logging
import operator
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autointerp.engine.loop import RatingPolicy
from autointerp.errors import BadInput, RunMismatch, TooFewRatings
from autointerp.findings.across import across_runs
from autointerp.findings.comparison import Comparison
from autointerp.findings.comparison import compare as compare_run
from autointerp.findings.groups import Group, Judgement
from autointerp.findings.swept import FEATURES, NEURONS
from autointerp.pipeline.events import Harvesting, Note, On, ignore
from autointerp.pipeline.job import Job, Resolved, say_opened, sources_by_role
from autointerp.pipeline.sweep import rate_in_one_order
from autointerp.raters import RaterOptions, version_of
from autointerp.settings import (
    HarvestSettings,
    RunSettings,
    SampleSettings,
    SubjectSettings,
    check_count,
    plain_number,
)
from autointerp.stats.results import Statistic
from autointerp.store.run import (
    IN_MEMORY,
    NAME,
    RUNS,
    Run,
    open_run,
    read_about,
    run_exists,
    runs_in,
)
from autointerp.text import exact_dollars
from autointerp.units.dictionary_figures import stored_figures

if TYPE_CHECKING:
    from autointerp.subjects import Subject
    from autointerp.subjects.checkpoints import Checkpoint
    from autointerp.subjects.formats import Flags

REMEMBERED = "evaluation"  # in a checkpoint's run, by judge and question
LOGGED = "autointerp/"  # before the names that a logger is given
KNOWN_BY = 10  # digits of its digest, in the name of a checkpoint without a step
LONGEST = 70  # characters of a name: runs are called after it
NO_MEAN = Statistic(None, None, None, (0,), "mean", note="no unit has a rating")


@dataclass(frozen=True)
class Evaluation:
    """What the judge says of a checkpoint's features against the neurons of its site.

    Attributes:
        run: The checkpoint's run; `baseline` is that of the neurons.
        step: Of training; None where none was given.
        superiority: P(a feature scores higher than a neuron) + ½ P(tie).
        features, neurons: Mean scores.
        unrated: Units asked about without a score.
        l0: Features over the firing threshold, a token.
        dead_share: Share of the SAE's features that fired on no token.
        variance_explained: By the reconstruction, over the axes of the site.
    """

    run: str
    baseline: str
    step: int | None
    judge: str
    rubric: str
    superiority: Statistic
    features: Statistic
    neurons: Statistic
    unrated: int
    l0: Statistic
    dead_share: Statistic
    variance_explained: Statistic

    def __str__(self) -> str:
        return (
            f"{self.run}: P(feature over neuron) {self.superiority}; mean of features "
            f"{self.features}, of neurons {self.neurons}; L0 {self.l0}; dead share "
            f"{self.dead_share}; variance explained {self.variance_explained}"
        )

    def as_dict(self) -> dict[str, float]:
        """Return flat numbers for a logger: each statistic, and the ends of its interval as
        `NAME_low` and `NAME_high`, with `unrated`. What is not known is left out."""
        values: dict[str, float] = {}
        for field in fields(self):
            one = getattr(self, field.name)
            if isinstance(one, Statistic):
                ends = {"": one.value, "_low": one.low, "_high": one.high}
                values |= {field.name + e: float(v) for e, v in ends.items() if v is not None}
        return {**values, "unrated": float(self.unrated)}


class Evaluator:
    """Rates checkpoints of an SAE in training, blind, against neurons of the model.

    Neurons are harvested and rated once, at the first checkpoint, in one order with its features;
    later ones are compared with these. Runs are NAME-neurons and NAME-step-STEP in the folder
    `runs`, where every other verb finds them. Training is left as it was: modes, gradients, hooks
    and global random state do not change.

    Each checkpoint is a look that no plan declares: its interval is that of one look at one
    checkpoint. A checkpoint that is chosen by these figures needs a rating of new units.

    Args:
        model: A Hugging Face causal LM, or a `HookedLanguageModel`; its weights do not change.
        tokens: Token ids: [rows, tokens], a row a document, or a sequence of documents.
        judge: NAME or NAME:MODEL of a rater.
        site: Where the SAE reads, such as `layers.3.residual`; empty for what a
            `HookedLanguageModel`, or the first SAE's own files or configuration, say.
        n: Features of each checkpoint, and neurons; as many as there are where these are fewer.
        name: What the runs' names begin with.
        neurons: `hidden` for the hidden neurons of the site's layer; empty for the site's axes.
        controls: Units of each control, rated once beside the neurons; a judge that fails them
            compares nothing. 0 for none, which leaves the judge unchecked.
        tokenizer: For the tokens' texts; without one they are `<id>`, which few judges can read.
        attention: [rows, tokens] False on padding.
        bos: Whether windows begin with BOS; None for whether there is one.
        rubric: Id of a rubric about units, or the path of a file.
        settings: What is kept of the tokens.
        sample: Which units are rated, by density.
        seed: Of every draw.
        options: How the judge is reached.
        policy: How it is asked; a budget is that of a checkpoint and the neurons together.
        flags: What files and state dicts of SAEs do not say, such as a TopK's k.
        config: What a file beside a state dict would say, such as {"activation": "topk", "k": 32}.
        log_to: A Weights & Biases run, or anything with `.log(numbers, step=)`; a TensorBoard
            writer, or anything with `.add_scalar(name, number, step)`; a Lightning logger, or
            anything with `.log_metrics(numbers, step)`; a folder, for a TensorBoard writer of its
            own. None for the Weights & Biases run that the program has begun, if it has one; False
            for none at all.
        runs: Folder of the runs.
        on: Is called with each event, such as `Harvesting` and `Asking`.

    Raises BadInput for what cannot be done as asked, UnknownName for a rater or rubric that is not
    there.
    """

    def __init__(
        self,
        model: Any,
        tokens: Any,
        judge: str = "lexical",
        *,
        site: str = "",
        n: int = 50,
        name: str = "training",
        neurons: str = "",
        controls: int = 0,
        tokenizer: Any = None,
        attention: Any = None,
        bos: bool | None = None,
        rubric: str = "interpretability-1-5",
        settings: HarvestSettings = HarvestSettings(),
        sample: SampleSettings = SampleSettings(),
        seed: int = 0,
        options: RaterOptions = RaterOptions(),
        policy: RatingPolicy = RatingPolicy(),
        flags: Flags | None = None,
        config: Mapping[str, Any] | None = None,
        log_to: Any = None,
        runs: Path | str = RUNS,
        on: On = ignore,
    ) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST:
            raise BadInput(
                f"name={name!r}: give up to {LONGEST} letters, digits, '.', '_' and '-'; runs are "
                "called NAME-neurons and NAME-step-STEP"
            )
        n, controls, seed = plain_number(n), plain_number(controls), plain_number(seed)
        for option, number, least in (("n", n, 2), ("controls", controls, 0), ("seed", seed, 0)):
            check_count(f"{option}={number!r}", number, least)
        if not isinstance(judge, str):
            raise BadInput(
                f"judge={type(judge).__name__}: give NAME or NAME:MODEL of a rater, such as "
                "'lexical'; `autointerp raters` lists them"
            )
        self.name, self.n, self.controls, self.runs = name, n, controls, Path(runs)
        self.baseline = f"{name}-{NEURONS}"
        job = Job(
            n=n,
            rubric=rubric,
            rater=judge,
            run=self.baseline,
            options=options,
            policy=policy,
            runs=self.runs,
        )
        if job.by_person:
            raise BadInput(
                f"judge='{judge}' is a person; name another, and let people rate the runs: "
                f"autointerp rate --run {name}-step-STEP --rater {judge}"
            )
        self._resolved = Resolved(job, planned=False)
        if self._resolved.question.about != "unit":
            raise BadInput(f"rubric='{rubric}' is about descriptions; an evaluator rates units")
        self._resolved.require_rater()
        self._model, self._tokens, self._attention = model, _lasting(tokens), _lasting(attention)
        self._site, self._neurons, self._bos = site, neurons, bos
        self._tokenizer = tokenizer
        self._settings, self._sample, self._seed = settings, sample, seed
        self._flags, self._config = flags, config
        self._log_to = _logger(log_to)
        self._on = on

    def __call__(self, sae: Any, step: int | None = None) -> Evaluation:
        """Return what the judge says of a checkpoint, and log it.

        A checkpoint that was evaluated before is known by its weights, and by what `flags` and
        `config` say of them: what is stored is returned, and only what has failed is asked again.

        Args:
            sae: An object with `.encode(x)` and weights, such as a module of SAELens or
                dictionary_learning; one with W_enc, b_enc, W_dec and b_dec; a state dict; or the
                path of a file or folder.
            step: Of training, for the run's name and the logger; without one the run is called
                after the weights' digest, and a TensorBoard writer, which has no place for it, is
                given nothing.

        Raises SubjectError if SAE, site and model do not fit together, RunMismatch if the runs hold
        another model, other tokens or settings, or another SAE at this step; TooFewRatings where
        the budget ends before all is rated.
        """
        from autointerp.subjects.checkpoints import read_checkpoint
        from autointerp.subjects.formats import Flags

        at = None if step is None else _checked_step(step)
        found = self._evaluate(read_checkpoint(sae, self._flags or Flags(), self._config), at)
        if found.step != at:  # its run has the name of the step at which it was first seen
            found = replace(found, step=at)
        _log(self._log_to, found)
        return found

    # --------------------------------------------------------------------------- one checkpoint

    def _evaluate(self, checkpoint: Checkpoint, step: int | None) -> Evaluation:
        from autointerp.units.in_memory import fitting_window, left_as_found, subject_in_memory

        name = self._run_of(checkpoint, step)
        with left_as_found(self._model, checkpoint.sae):
            subject, documents = subject_in_memory(
                self._model,
                self._tokens,
                sae=checkpoint.sae,
                site=self._site_for(checkpoint),
                neurons=self._neurons,
                tokenizer=self._tokenizer,
                attention=self._attention,
                bos=self._bos,
            )
            subjects = self._subjects(name, subject, documents, checkpoint)
            harvest = self._settings
            if not harvest.window:
                harvest = replace(harvest, window=fitting_window(subject, documents))
            settings = RunSettings(
                SubjectSettings(
                    model=IN_MEMORY,
                    site=subject.site,
                    neurons=self._neurons,
                    bos="yes" if subject.begins_with_bos else "no",
                ),
                harvest,
                self._sample,
                self._seed,
            )
            with self._opened(settings, subjects) as opened:
                kept = opened[name].recall(self._remembered)
                if kept is not None:
                    return _of_json(kept)
                self._harvest(opened, subjects)
                return self._rate(opened, name, step)

    def _run_of(self, checkpoint: Checkpoint, step: int | None) -> str:
        """Return the name of a checkpoint's run: that which has its weights already, whatever the
        step, else a new one.

        Raises RunMismatch if the run of this step holds another SAE.
        """
        digest = checkpoint.digest
        name = f"{self.name}-{digest[:KNOWN_BY]}" if step is None else f"{self.name}-step-{step}"
        held = {
            run: read_about(self.runs / run)["digests"].get("sae")
            for run in runs_in(self.runs)
            if run.startswith(f"{self.name}-step-") or run == f"{self.name}-{digest[:KNOWN_BY]}"
        }
        same = [run for run, sae in sorted(held.items()) if sae == digest]
        if name in held and held[name] != digest:
            raise RunMismatch(
                f"run '{name}' holds another SAE at this step, by its weights or an attribute such "
                f"as k; give another step, or the evaluator another name, or remove "
                f"{self.runs / name}"
            )
        return name if name in same or not same else same[0]

    def _site_for(self, checkpoint: Checkpoint) -> str:
        """Return where to read: as given, or, where nothing is, where the SAE was trained."""
        if not self._site and not hasattr(self._model, "d_site"):
            if not checkpoint.site:
                raise BadInput(
                    "no site, and the SAE does not say where it was trained: give where it reads, "
                    "such as site='layers.3.residual'"
                )
            self._site = checkpoint.site
        return self._site

    def _subjects(
        self, name: str, subject: Subject, documents: Any, checkpoint: Checkpoint
    ) -> dict[str, Subject]:
        """Return the subjects of the checkpoint's run and of the neurons'."""
        from autointerp.subjects.checkpoints import model_digest, unwrapped

        read = hashlib.sha256()
        for ids in documents:
            read.update(f"{len(ids)}\n".encode() + ids.tobytes())
        read.update("\0".join(subject.token_texts).encode("utf-8", "surrogatepass"))
        model = unwrapped(self._model)
        shared = {
            "model": model_digest(getattr(model, "model", model)),
            "corpus": read.hexdigest(),
        }
        return {
            name: replace(subject, digests={**shared, "sae": checkpoint.digest}),
            self.baseline: replace(subject, sae=None, loaded=None, digests=shared),
        }

    @property
    def _remembered(self) -> str:
        rater = self._resolved.rater
        parts = (rater.name, version_of(rater), self._resolved.question.digest, str(self.n))
        return f"{REMEMBERED} {' '.join(parts)} {self.controls}"

    @contextmanager
    def _opened(
        self, settings: RunSettings, subjects: Mapping[str, Subject]
    ) -> Iterator[dict[str, Run]]:
        """Open the runs of a checkpoint and of the neurons, made where they are missing.

        One that is made here and gets no unit is removed where something is refused.
        """
        with ExitStack() as stack:
            opened: dict[str, Run] = {}
            new: list[Run] = []
            try:
                for name, subject in subjects.items():
                    is_new = not run_exists(self.runs / name)
                    opened[name] = stack.enter_context(open_run(name, settings, subject, self.runs))
                    new += [opened[name]] if is_new else []
                    say_opened(opened[name], self._on, is_new)
                yield opened
            except BadInput:
                for run in new:
                    if not run.has_rows("unit"):
                        run.discard()
                raise

    def _wanted(self, name: str) -> dict[str, int]:
        if name != self.baseline:
            return {FEATURES: self.n}
        controls = sources_by_role(controls=True) if self.controls else []
        return {NEURONS: self.n, **dict.fromkeys(controls, self.controls)}

    def _harvest(self, opened: Mapping[str, Run], subjects: Mapping[str, Subject]) -> None:
        """Harvest what the runs lack, in one reading of the tokens."""
        from autointerp.units.together import Member, draw_together

        members = [
            Member(run, subjects[name], self._wanted(name), measures=name != self.baseline)
            for name, run in opened.items()
        ]
        draw_together(
            members,
            0,
            lambda label, tokens: self._on(Harvesting(label, tokens, None, False)),
            lambda text: self._on(Note(text)),
        )

    def _rate(self, opened: Mapping[str, Run], name: str, step: int | None) -> Evaluation:
        resolved = self._resolved
        wanted = {run: self._wanted(run) for run in opened}
        declared = {
            "step": step,
            "rater": resolved.rater.name,
            "rubric": resolved.question.id,
            "n": self.n,
        }
        statuses: Counter[str] = Counter()
        stopped = rate_in_one_order(
            wanted, opened, resolved, statuses, self._on, "evaluation", declared
        )
        budget = resolved.job.policy.budget_usd
        if stopped and budget is not None:
            raise TooFewRatings(
                f"run '{name}': the budget of {exact_dollars(budget)} ended the "
                "rating; what was rated is stored: give a larger one and call again"
            )
        evaluation = self._compared(opened, name, step)
        if not statuses["failed"]:  # what failed is asked again by the next call
            opened[name].remember(self._remembered, json.dumps(asdict(evaluation)))
        return evaluation

    def _compared(self, opened: Mapping[str, Run], name: str, step: int | None) -> Evaluation:
        rater, question = self._resolved.rater, self._resolved.question
        comparisons: list[Comparison] = []
        judged: dict[str, Judgement] = {}
        for run_name, run in opened.items():
            try:
                comparison = compare_run(run, verb="evaluate")
            except TooFewRatings:  # all its units are dead, or none passes the density filter
                continue
            for one in comparison.judgements:
                if (one.rater, one.rubric_digest) == (rater.name, question.digest):
                    judged[run_name] = one
                    comparisons.append(replace(comparison, judgements=(one,)))
        features = _group(judged.get(name), FEATURES)
        neurons = _group(judged.get(self.baseline), NEURONS)
        figures = stored_figures(opened[name])
        assert figures is not None  # measured in the first reading
        return Evaluation(
            run=name,
            baseline=self.baseline,
            step=step,
            judge=rater.name,
            rubric=question.id,
            superiority=_superiority(comparisons, judged, opened, features, neurons),
            features=_mean(features),
            neurons=_mean(neurons),
            unrated=sum(group.lost for group in (features, neurons) if group is not None),
            l0=figures.l0,
            dead_share=figures.dead_share,
            variance_explained=figures.variance_explained,
        )


def _group(judgement: Judgement | None, source: str) -> Group | None:
    return None if judgement is None else judgement.groups.get(source)


def _mean(group: Group | None) -> Statistic:
    return NO_MEAN if group is None else group.mean


def _superiority(
    comparisons: list[Comparison],
    judged: Mapping[str, Judgement],
    opened: Mapping[str, Run],
    features: Group | None,
    neurons: Group | None,
) -> Statistic:
    """Return P(feature > neuron) + ½ P(tie); undefined, and why, where nothing is compared."""
    counts = tuple(0 if group is None else group.n for group in (features, neurons))
    why = next((f"the judge: {one.fails}" for one in judged.values() if one.fails), "")
    if not why and features is not None and neurons is not None:
        runs = [opened[one.run] for one in comparisons]
        across = across_runs(
            comparisons,
            runs,
            verb="evaluate",
            asked=lambda one, other: {one.source, other.source} == {FEATURES, NEURONS},
        )
        for one in across.judged:
            for contrast in one.contrasts:
                if contrast.first.source == FEATURES:
                    return contrast.superiority
        left_out = (*(out for one in across.judged for out in one.left_out), *across.left_out)
        why = "; ".join(out.why for out in left_out)
    why = why or "fewer than two features or neurons have a score"
    return Statistic(None, None, None, counts, "P(feature over neuron)", note=why)


def _lasting(rows: Any) -> Any:
    """Return rows that can be read at every checkpoint: those of an iterator are gone after one."""
    return list(rows) if isinstance(rows, Iterator) else rows


def _checked_step(step: Any) -> int:
    try:
        number = operator.index(step)
    except TypeError:
        number = -1
    if isinstance(step, bool) or not 0 <= number < 10**18:
        raise BadInput(f"step={step!r}: give a whole number that is not below 0")
    return number


def _of_json(text: str) -> Evaluation:
    """Return what `json.dumps(asdict(evaluation))` wrote."""
    values = json.loads(text)
    for name, value in values.items():
        if isinstance(value, dict):
            values[name] = Statistic(**{**value, "n": tuple(value["n"])})
    return Evaluation(**values)


# -------------------------------------------------------------------------------- loggers


def _logger(given: Any) -> Any:
    """Return what evaluations are logged to: as given, or a TensorBoard writer for a folder.

    Raises BadInput for what takes no numbers, or where TensorBoard is not installed.
    """
    if isinstance(given, str | Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise BadInput(
                f"log_to='{given}' needs tensorboard, which is not installed: pip install "
                "tensorboard, or give a logger of your own"
            ) from None
        return SummaryWriter(str(given))
    if given is None or given is False or isinstance(given, logging.Logger):
        return given
    if not any(
        callable(getattr(given, name, None)) for name in ("add_scalar", "log_metrics", "log")
    ):
        raise BadInput(
            f"log_to: {type(given).__name__} has none of `log`, `add_scalar` and `log_metrics`; "
            "give a Weights & Biases run, a TensorBoard writer or its folder, or False"
        )
    return given


def _log(to: Any, found: Evaluation) -> None:
    """Give an evaluation's numbers to a logger; without one, to the run of Weights & Biases that
    the program has begun, if it has one."""
    if to is None:
        to = getattr(sys.modules.get("wandb"), "run", None)
    if to is None or to is False:
        return
    numbers = {f"{LOGGED}{name}": value for name, value in found.as_dict().items()}
    if isinstance(to, logging.Logger):
        to.info("%s", found)
    elif callable(getattr(to, "add_scalar", None)):
        # Without a step TensorBoard would put them at 0, among the figures of the beginning.
        for name, value in numbers.items() if found.step is not None else ():
            to.add_scalar(name, value, found.step)
    elif callable(getattr(to, "log_metrics", None)):
        to.log_metrics(numbers, found.step)
    else:
        to.log(numbers, step=found.step)
