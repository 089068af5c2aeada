"""Descriptions of the tiny run's units, tried by every scorer."""

from autointerp.pipeline.describe import score
from autointerp.pipeline.job import Job
from autointerp.questions.score import Design

ALL = ("detection", "fuzzing", "simulation", "intruder")
DESIGN = Design(count=10, permuted=8)


def job(runs, rater="scripted:truth", **more):
    return Job(rater=rater, run="tiny", runs=runs, **more)


def scored(runs, names=ALL, rater="scripted:truth", choice=None, design=DESIGN):
    return score(job(runs, rater, scorers=tuple(names), design=design, **(choice or {})))
