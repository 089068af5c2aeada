"""What was last said of units, by name."""

from __future__ import annotations

from autointerp.store.run import Run


def last_descriptions(run: Run) -> dict[str, str]:
    """Return the last description of each unit that has one, by its name: by an explainer, else by
    a rater.
    """
    name = "unit_name(source, idx, sign)"
    rated = run.rows(
        f"SELECT {name}, arg_max(description, made_at) FROM unit_rating"
        " WHERE status = 'ok' AND description <> '' GROUP BY ALL"
    )
    explained = run.rows(
        "SELECT unit_name(u.source, u.idx, u.sign), arg_max(e.description, e.made_at)"
        " FROM explanation e JOIN unit u USING (unit_id)"
        " WHERE e.status = 'ok' AND e.description <> '' GROUP BY ALL"
    )
    return {**dict(rated), **dict(explained)}
