"""A run as data frames, for a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autointerp.errors import UnknownName
from autointerp.store.tables import Tables

if TYPE_CHECKING:
    import pandas


class Frames(Tables):
    """What a run holds, as data frames with plain columns."""

    def ratings_frame(self) -> pandas.DataFrame:
        """Return one row per rating: the latest version of each, also of those without a score.

        Columns:
            unit: As in `features/123`; `neurons/5-` for the negative half of a signed neuron.
            source, index, sign: The parts of that name.
            is_control: Whether the source is a control.
            item: Id of what the rater saw.
            rubric, rubric_digest: What was asked.
            rater, repeat: Who answered, and which time, from 0.
            rater_version: Of the rater's rules, weights or model file; empty for a rater without,
                null where it was not kept.
            status: ok, unparsed, refused, failed or skipped.
            score: Null unless the status is ok.
            expected_score: Mean score by the reply's token probabilities; null without them.
            unassigned_mass: Probability of replies that are no score; null likewise.
            description, rationale: In the rater's words.
            density: Share of tokens on which the unit fires, 0 to 1; null if unknown.
            peak: The unit's largest activation, in the subject's units.
            unit_note: What the source says of the unit.
            model: As the provider returned it.
            attempts: Calls made, retries included.
            tokens_in, tokens_out: Over all attempts.
            cost_usd: Over all attempts; null where no price is known.
            made_at: UTC.
        """
        return self.frame(
            "SELECT * FROM rating_table"
            " ORDER BY source, index, sign DESC, rubric, rubric_digest, rater, repeat"
        )

    def units_frame(self) -> pandas.DataFrame:
        """Return one row per unit that was drawn, in the random order of its source.

        Columns:
            unit: As in `features/123`; `neurons/5-` for the negative half of a signed neuron.
            source, index, sign: The parts of that name.
            is_control: Whether the source is a control.
            order: Place in the source's random order, from 0.
            outcome: eligible (it has contexts), dead, ultralow or dense.
            density: Share of tokens on which it fires, 0 to 1; null if unknown.
            tokens: Tokens that were read; 0 where a file does not say.
            peak: Its largest activation, in the subject's units.
            note: What the source says of it.
        """
        return self.frame(
            "SELECT unit_label(u.source, u.idx, u.sign, u.note) AS unit, u.source, u.idx AS index,"
            ' u.sign, s.is_control, u.ord AS "order", u.outcome, u.density, u.tokens, u.peak,'
            " u.note"
            " FROM unit u JOIN source s ON s.source = u.source ORDER BY u.source, u.ord"
        )

    def contexts_frame(self, source: str) -> pandas.DataFrame:
        """Return one row per context of a source's units, in the units' random order.

        Columns:
            unit: As in `features/123`.
            context: Its number in the run.
            draw: top, interval or random: why it is here.
            interval: Of the focus token's activation, from 1; null where the unit is silent on it.
            split: explain or score: which raters may see it.
            silent: Whether the unit is silent on every token of it.
            focus: Index of the token for which it was drawn.
            activation: On that token, in the subject's units.
            document, position: Place of that token in the corpus.
            tokens, activations: One each for every token of the window.

        Raises UnknownName if the run has no such source.
        """
        names = [name for (name,) in self.rows("SELECT source FROM source")]
        if source not in names:
            raise UnknownName("source", source, names)
        return self.frame(
            "SELECT unit_label(u.source, u.idx, u.sign, u.note) AS unit, c.context_id AS context,"
            " c.draw, c.interval, c.split, c.silent, c.focus,"
            " c.activations[c.focus + 1] AS activation, c.document, c.position, c.tokens,"
            " c.activations"
            " FROM context c JOIN unit u USING (unit_id) WHERE u.source = ?"
            " ORDER BY u.ord, c.context_id",
            [source],
        )
