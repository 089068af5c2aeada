"""People in real windows: two at once, and a server that is killed in between; every key."""

from __future__ import annotations

import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import Watched, expect, playwright
from support.fabricate import fabricate_run

from autointerp.apps.service._tokens import Tokens
from autointerp.findings.comparison import compare
from autointerp.people.ingest import ingest_journals
from autointerp.people.journal import open_journal, read_journal
from autointerp.people.session import Sitting
from autointerp.pipeline.invite import invite
from autointerp.store.run import open_run
from autointerp.text import ON_PAGE, visible

SIZES = {
    "ann": ({"width": 1400, "height": 900}, "light"),
    "bob": ({"width": 390, "height": 844}, "dark"),
}
SETTLED = """() => !document.getElementById('item').hidden || (
    !document.getElementById('sheet').hidden
    && document.getElementById('sheet-title').textContent !== 'One moment')"""


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path, port: int, process_environment) -> Iterator[Callable[[], Any]]:
    """Return a function that starts the server of the test's runs and waits until it answers."""
    started = []

    def call() -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [sys.executable, "-m", "autointerp", "serve", "--port", str(port)],
            cwd=tmp_path,
            env=process_environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(server)
        while server.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return server
            time.sleep(0.05)
        raise AssertionError("the server ended")

    yield call
    for server in started:
        server.kill()
        server.wait()


def text_of(item) -> str:
    whole = "".join(visible(token, ON_PAGE) for c in item.contexts for token in c.tokens)
    return "".join(whole.split())


class Person:
    """Somebody who rates: what was typed, and of which text."""

    def __init__(self, page: Any, name: str) -> None:
        self.page = page
        self.typed: list[tuple[str, str]] = []
        self._rng = random.Random(name)

    def rate(self, answers: int) -> bool:
        """Type so many answers; False where all is done before."""
        page = self.page
        while answers:
            page.wait_for_function(SETTLED)
            if page.locator("#item").is_hidden():
                if page.locator("#sheet-title").inner_text() == "Done":
                    return False
                page.keyboard.press("Enter")
                continue
            text = "".join(page.locator("#contexts li").all_inner_texts())
            key = str(self._rng.randint(1, 4))
            self.typed.append(("".join(re.sub("marked:|end of mark", "", text).split()), key))
            page.keyboard.press(key)
            answers -= 1
        return True


def test_two_people_rate_at_once_and_a_killed_server_costs_neither_an_answer(
    start, port, own_runs, chromium
):
    links = {}
    sitting = Sitting(repeat_share=0.2)
    for name in SIZES:
        made = invite("tiny", f"human:{name}", 7, sitting=sitting, corpus_text=False, runs=own_runs)
        token = Tokens(own_runs).issue("rater", run="tiny", rater=f"human:{name}",
                                       details={"journal": made.session})[1]  # fmt: skip
        links[name] = f"http://127.0.0.1:{port}/rate/?token={token}"
    server = start()
    people, faults = {}, []
    for name, (size, scheme) in SIZES.items():
        window = chromium.new_context(viewport=size, color_scheme=scheme)
        window.on("weberror", lambda fault: faults.append(fault.error))
        page = window.new_page()
        page.goto(links[name])
        people[name] = Person(page, name)
    ann, bob = people.values()
    for _ in range(3):  # in turns, so that both are under way
        for person in people.values():
            assert person.rate(2)
    for person in people.values():
        person.page.wait_for_function("() => !localStorage.length")  # all acknowledged
    server.send_signal(signal.SIGKILL)
    server.wait()
    for person in people.values():
        assert person.rate(2)  # what was sent ahead is at hand
        person.page.wait_for_function(
            "() => document.getElementById('line').textContent.includes('safe on this device')"
        )
    ann.page.keyboard.press("u")  # takes one back while nobody listens
    ann.typed.pop()
    bob.page.close(run_before_unload=False)  # and his two answers are nowhere but on his device
    bob.page = bob.page.context.new_page()
    with pytest.raises(playwright.Error, match="ERR_CONNECTION_REFUSED"):
        bob.page.goto(f"http://127.0.0.1:{port}/rate/")
    start()
    bob.page.goto(f"http://127.0.0.1:{port}/rate/")
    ann.page.evaluate("() => dispatchEvent(new Event('online'))")
    for person in people.values():
        assert not person.rate(1000)
    for person in people.values():
        person.page.wait_for_function("() => !localStorage.length")
        width = person.page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= person.page.viewport_size["width"]
        person.page.context.close()
    assert faults == []
    first_ratings: dict[str, dict[str, int]] = {}  # as they were typed, by item
    for name, person in people.items():
        (path,) = (own_runs / "tiny" / "journals").glob(f"human-{name}.*.jsonl")
        reading = read_journal(path)
        assert (reading.torn, reading.edited) == ((), ())
        standing: list[Any] = []
        for entry in reading.entries[f"human:{name}"]:
            standing = standing[:-1] if entry.verb == "undo" else [*standing, entry]
        guesses = {"feature": "1", "neuron": "2", "control": "3", "unknown": "4"}
        written = [
            (text_of(reading.session.by_id[e.item]), guesses.get(e.text or "", str(e.score)))
            for e in standing
        ]
        assert written == person.typed
        ids = [entry.answer for entry in reading.entries[f"human:{name}"]]
        assert len(set(ids)) == len(ids)
        first_ratings[name] = {
            entry.item: int(key)
            for entry, (_, key) in zip(standing, person.typed, strict=True)
            if entry.kind == "rating" and entry.repeat == 0
        }
    with open_run("tiny", folder=own_runs) as run:
        ingest_journals(run)
        for name, person in people.items():
            rated = run.rows("SELECT count(*) FROM current_rating WHERE rater = ?"
                             " AND status = 'ok'", [f"human:{name}"])[0][0]  # fmt: skip
            guessed = run.rows("SELECT count(*) FROM current_guess WHERE rater = ?",
                               [f"human:{name}"])[0][0]  # fmt: skip
            practised = len(person.typed) - rated - guessed
            assert practised == 4
            assert rated == guessed + round(guessed * 0.2)
            stored = run.rows("SELECT item_id, score FROM current_rating WHERE rater = ?"
                              " AND repeat = 0 AND status = 'ok'", [f"human:{name}"])  # fmt: skip
            assert dict(stored) == first_ratings[name]
        studied = {item for (item,) in run.rows("SELECT item_id FROM unit_item"
                                                " WHERE NOT is_control")}  # fmt: skip
        # The agreement that the report shows is on what both rated.
        (both,) = (pair for pair in compare(run).people if pair.kind == "people")
    shared = first_ratings["ann"].keys() & first_ratings["bob"].keys() & studied
    assert (both.raters, both.units) == (("human:ann", "human:bob"), len(shared))


HEBREW = ("שלום", "עולם", "ספר", "מים", "ארץ", "שמש")


def test_every_key_of_the_page_does_what_it_says_in_text_from_right_to_left(
    start, port, tmp_path, chromium
):
    runs = tmp_path / "runs"
    fabricate_run(runs, {"features": 3, "neurons": 3}, name="tiny", text=HEBREW)
    sitting = Sitting(repeat_share=0, practice=False)
    made = invite("tiny", "human:ann", 6, sitting=sitting, corpus_text=False, runs=runs)
    details = {"journal": made.session, "consent": "I take part.", "code": "C0DE77"}
    token = Tokens(runs).issue("rater", run="tiny", rater="human:ann", details=details)[1]
    bare = Sitting(repeat_share=0, practice=False, guess=False)
    other = invite("tiny", "human:bob", 6, sitting=bare, corpus_text=False, runs=runs)
    details = {"journal": other.session}
    bob = Tokens(runs).issue("rater", run="tiny", rater="human:bob", details=details)[1]
    start()
    address = f"http://127.0.0.1:{port}/rate/?token={token}"
    window = Watched(chromium, address, "#sheet:not([hidden])",
                     viewport={"width": 390, "height": 844})  # fmt: skip
    page, keyboard = window.page, window.page.keyboard
    heading = page.locator("#sheet-title")
    progress = page.locator("#progress")
    expect(heading).to_have_text("Before you begin")
    assert not any(word in page.content() for word in HEBREW)  # nothing before the consent
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(heading).to_contain_text("How interpretable")
    expect(page.locator("#sheet-body")).to_contain_text("6 items to rate, and")
    keyboard.press("Enter")
    expect(page.locator("#item")).to_be_visible()
    first = page.locator("#contexts .text").first
    assert first.evaluate("one => getComputedStyle(one).direction") == "rtl"
    # What stands before the mark is at its right, as it is read.
    before, mark = (first.locator(one).bounding_box() for one in (".lead", "mark.focus"))
    assert before["x"] + before["width"] > mark["x"]
    keyboard.press("n")
    page.keyboard.type("wrong")
    keyboard.press("Enter")
    expect(page.locator("#written")).to_contain_text("wrong")
    keyboard.press("n")
    keyboard.press("Control+A")
    keyboard.press("Delete")
    keyboard.press("Enter")
    expect(page.locator("#written")).to_be_hidden()  # what is emptied is no description
    keyboard.press("n")
    page.keyboard.type("של ספר 3")  # digits are text here
    keyboard.press("Enter")
    expect(page.locator("#written")).to_contain_text("של ספר 3")
    keyboard.press("p")
    expect(heading).to_have_text("Paused")
    keyboard.press("4")  # no answer: the item is not seen
    keyboard.press("Enter")
    expect(progress).to_contain_text("item 1 of 6")
    keyboard.press("?")
    expect(page.locator("#sheet-body")).to_contain_text("Line ends are shown")
    keyboard.press("Escape")
    keyboard.press("2")
    expect(progress).to_contain_text("item 2 of 6")
    keyboard.press("u")
    expect(progress).to_contain_text("item 1 of 6")
    expect(page.locator("#written")).to_contain_text("של ספר 3")
    keyboard.press("s")
    keyboard.press("2")
    expect(progress).to_contain_text("item 2 of 6")
    keyboard.press("x")
    keyboard.press("Tab")
    keyboard.press("Space")  # the guesses are left out
    keyboard.press("Escape")
    for done in range(2, 7):
        expect(progress).to_contain_text(f"item {done} of 6")
        keyboard.press("5")
    expect(page.locator("output.code")).to_have_text("C0DE77")
    assert window.complaints == []
    page.goto(f"http://127.0.0.1:{port}/rate/?token={bob}")  # nothing of it can be left out
    expect(page.locator("#sheet-body")).to_contain_text("6 items to rate.")
    expect(page.locator("#sheet-body")).not_to_contain_text("untick")
    window.context.close()
    (path,) = (runs / "tiny" / "journals").glob("human-ann.*.jsonl")
    entries = read_journal(path).entries["human:ann"]
    assert [(entry.verb, entry.score or entry.text) for entry in entries[1:]] == [
        ("describe", "wrong"),
        ("describe", ""),
        ("describe", "של ספר 3"),
        ("score", 2),
        ("undo", None),
        ("skip", "broken or unreadable text"),
        ("decline", None),
        *[("score", 5)] * 5,
    ]


def test_a_second_window_and_a_terminal_at_the_same_sitting_are_told_why_an_answer_waits(
    start, port, tmp_path, chromium
):
    runs = tmp_path / "runs"
    fabricate_run(runs, {"features": 3, "neurons": 3}, name="tiny")
    sitting = Sitting(repeat_share=0, practice=False, guess=False)
    made = invite("tiny", "human:ann", 6, sitting=sitting, corpus_text=False, runs=runs)
    details = {"journal": made.session}
    token = Tokens(runs).issue("rater", run="tiny", rater="human:ann", details=details)[1]
    (path,) = (runs / "tiny" / "journals").glob("human-ann.*.jsonl")
    server = start()
    window = chromium.new_context()
    one, other = window.new_page(), window.new_page()
    for page, query in ((one, f"?token={token}"), (other, "")):
        page.goto(f"http://127.0.0.1:{port}/rate/{query}")
        page.wait_for_selector("#sheet:not([hidden])")
        page.keyboard.press("Enter")
        page.wait_for_selector("#item:not([hidden])")
    for _ in range(2):
        one.keyboard.press("5")
    expect(one.locator("#progress")).to_contain_text("item 3 of 6")
    one.wait_for_function("() => !localStorage.length")
    other.keyboard.press("1")  # of the first item, with the second to come
    expect(other.locator("#progress")).to_contain_text("item 3 of 6")
    expect(other.locator("#typed")).to_have_text("One answer was not taken: answered already.")
    server.kill()
    server.wait()
    with open_journal(path, "human:ann"):  # as a terminal has it
        start()
        other.keyboard.press("2")
        expect(other.locator("#line")).to_contain_text("this sitting is open in a terminal")
        expect(other.locator("#line")).to_contain_text("1 answer safe on this device")
    other.evaluate("() => dispatchEvent(new Event('online'))")
    other.wait_for_function("() => !localStorage.length")
    window.close()
    assert [entry.score for entry in read_journal(path).entries["human:ann"]] == [5, 5, 2]
