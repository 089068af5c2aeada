from autointerp.records import Request
from autointerp.store.run import Run

BATCH = {
    "label": "b1",
    "state": "intended",
    "provider_id": None,
    "rater": "openai:m",
    "asked": "openai:m",
    "options": "{}",
    "rubric": "interpretability-1-5",
    "rubric_digest": "digest",
    "calls": 2,
    "most_usd": None,
}


def test_a_batch_is_open_until_it_is_collected_and_its_calls_are_work_in_hand(run: Run):
    run.add_batch(BATCH, [Request("k1", "i1", {}), Request("k2", "i2", {}, 1)])
    run.add_batch({**BATCH, "state": "submitted", "provider_id": "p"})
    assert [(b["label"], b["state"], b["version"]) for b in run.open_batches()] == [
        ("b1", "submitted", 1)
    ]
    assert [(call.key, call.item, call.repeat) for call in run.batch_calls("b1")] == [
        ("k1", "i1", 0),
        ("k2", "i2", 1),
    ]
    assert run.work_in_batches("openai:m") == {("i1", 0), ("i2", 1)}
    assert run.work_in_batches("openai:other") == set()
    run.add_batch({**BATCH, "state": "collected"})
    assert run.open_batches() == []
    assert run.work_in_batches("openai:m") == set()


def test_what_open_batches_can_cost_is_committed(run: Run):
    run.add_batch({**BATCH, "most_usd": 0.5})
    run.add_batch({**BATCH, "label": "b2", "state": "submitted", "most_usd": 0.25})
    assert (run.spent_usd(), run.committed_usd()) == (0.0, 0.75)
    run.add_batch({**BATCH, "state": "collected", "most_usd": 0.5})
    assert run.committed_usd() == 0.25
