"""Invitations: how many of which units, and the link."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.apps.service._tokens import Tokens, write_address
from autointerp.errors import BadInput, TooFewUnits
from autointerp.people.ingest import ingest, ingest_journals
from autointerp.people.invitations import INVITATIONS, join, joined
from autointerp.people.journal import OtherJournals, open_journal, read_journal
from autointerp.people.machine import Machine
from autointerp.people.packs import make_pack
from autointerp.people.session import Sitting
from autointerp.pipeline.invite import evenly, invite, spread
from autointerp.questions.rubric_files import load_rubric
from autointerp.store.run import open_run


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30), min_size=1),
       st.integers(0, 200))  # fmt: skip
def test_units_are_shared_as_evenly_as_sources_allow(held, total):
    taken = evenly(held, total)
    assert sum(taken.values()) == min(total, sum(held.values()))
    most = max(taken.values())
    assert all(n <= held[name] and (n >= most - 1 or n == held[name]) for name, n in taken.items())


@pytest.mark.parametrize("items", [1, 5, 7, 12, 16, 24])
def test_as_many_items_come_as_were_asked_for(own_runs: Path, tiny_run_name: str, items: int):
    with open_run(tiny_run_name, folder=own_runs, read_only=True) as run:
        held = run.held_units()
        wanted = spread(run, items)
    assert sum(wanted.values()) == items
    assert all(n <= held[name][0] for name, n in wanted.items())
    studied, controls = (
        [n for name, n in wanted.items() if held[name][1] == control] for control in (False, True)
    )
    assert max(studied) - min(studied) <= 1
    assert sum(controls) <= items / 2  # the units that are asked about come first


def test_a_run_that_holds_fewer_gives_all_that_it_has(own_runs: Path, tiny_run_name: str):
    with open_run(tiny_run_name, folder=own_runs, read_only=True) as run:
        held = run.held_units()
        wanted = spread(run, 1000)
    assert {n: wanted[n] for n in wanted if not held[n][1]} == {
        n: size for n, (size, control) in held.items() if not control
    }


def test_a_person_has_a_journal_and_others_a_session_to_copy(own_runs: Path):
    said: list[str] = []
    ann = invite(
        "tiny", "human:ann", 8, corpus_text=False, runs=own_runs, on=lambda e: said.append(str(e))
    )
    # The poorest of the 8 items has 8 contexts.
    assert said == ["note: each item shows 8 contexts and not 10, because some units have no more"]
    assert ann.asked["ratings"] == 8
    again = invite("tiny", "human:ann", 8, corpus_text=False, runs=own_runs)
    assert again.session == ann.session  # the same wish takes up the same journal
    open_one = invite("tiny", None, 8, corpus_text=False, runs=own_runs)
    session = read_journal(own_runs / "tiny" / INVITATIONS / open_one.session).session
    assert joined(own_runs / "tiny", open_one.session) == 0
    path = join(own_runs / "tiny", open_one.session, "human:p-1")
    assert join(own_runs / "tiny", open_one.session, "human:p-1") == path
    assert joined(own_runs / "tiny", open_one.session) == 1
    assert read_journal(path).session == session
    with pytest.raises(BadInput, match="letters, digits"):
        join(own_runs / "tiny", open_one.session, "human:../x")


def test_what_an_invitation_leaves_out_is_not_asked(own_runs: Path):
    made = invite("tiny", "human:ann", 8, sitting=Sitting(repeat_share=0, practice=False,
                  guess=False), corpus_text=False, runs=own_runs)  # fmt: skip
    assert set(made.asked) == {"ratings"}


@pytest.mark.parametrize("rater", ["human:bob", None])
def test_units_that_enough_people_have_rated_are_not_asked_about_and_controls_not_alone(
    own_runs: Path, rater: str | None
):
    """Ann rates all that is asked of 8 items. Who is invited to share these with her by
    `--overlap 1` would have the controls alone; of 16 items those that are new are left.
    """
    ann = invite("tiny", "human:ann", 8, corpus_text=False, runs=own_runs)
    rated = _rate_all(own_runs, ann.session)
    bare = Sitting(overlap=1, practice=False, guess=False, repeat_share=0)
    with pytest.raises(TooFewUnits, match=r"--overlap 1: .*; ask for more units"):
        invite("tiny", rater, 8, sitting=bare, corpus_text=False, runs=own_runs)
    more = invite("tiny", rater, 16, sitting=bare, corpus_text=False, runs=own_runs)
    folder = own_runs / "tiny" / ("journals" if rater else INVITATIONS)
    session = read_journal(folder / more.session).session
    assert session is not None
    assert len(session.to_rate) == more.asked["ratings"]
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        controls = {row[0] for row in run.rows("SELECT item_id FROM unit_item WHERE is_control")}
    studied = set(session.to_rate) - controls
    assert studied
    assert not studied & rated


def test_no_guess_is_asked_about_an_item_that_was_skipped_in_an_earlier_sitting(own_runs: Path):
    bare = Sitting(practice=False, guess=False, repeat_share=0)
    first = invite("tiny", "human:ann", 8, sitting=bare, corpus_text=False, runs=own_runs)
    path = own_runs / "tiny" / "journals" / first.session
    with open_journal(path, "human:ann") as journal:
        machine = Machine(journal)
        skipped = machine.item
        machine.skip("a language that I cannot read")
        while machine.step is not None:
            machine.rate(3)
    again = Sitting(practice=False, repeat_share=0)
    second = invite("tiny", "human:ann", 8, sitting=again, corpus_text=False, runs=own_runs)
    session = read_journal(own_runs / "tiny" / "journals" / second.session).session
    assert session is not None
    assert skipped is not None
    assert session.to_rate == ()
    assert len(session.to_guess) == first.asked["ratings"] - 1
    assert skipped.id not in session.to_guess
    with pytest.raises(TooFewUnits, match=r"nothing is left for human:ann .*; ask for more units"):
        invite("tiny", "human:ann", 8, sitting=bare, corpus_text=False, runs=own_runs)


def _rate_all(runs: Path, journal: str) -> set[str]:
    """Give every item of Ann's journal a score; return the items."""
    with open_journal(runs / "tiny" / "journals" / journal, "human:ann") as opened:
        machine = Machine(opened)
        while machine.step is not None and machine.step.kind != "guess":
            machine.rate(3)
            machine.go_on()
        return set(opened.session.to_rate)


def test_the_command_prints_a_link_that_opens_nothing_but_the_own_sitting(command_line, own_runs):
    told = command_line("invite", "tiny", "--rater", "ann", "--items", 500, "--no-corpus-text",
                        "--url", "https://rate.example.org")  # fmt: skip
    assert told.code == 0, told.err
    assert "human:ann: " in told.err
    assert "controls" in told.err
    link = urlsplit(told.out.strip())
    assert (link.netloc, link.path) == ("rate.example.org", "/rate/")
    token = Tokens(own_runs).find(parse_qs(link.query)["token"][0])
    assert (token.role, token.run, token.rater) == ("rater", "tiny", "human:ann")
    asked = re.search(r"(\d+) items to rate", told.err)  # the run holds fewer than 500
    assert asked is not None
    assert token.label == f"interpretability-1-5, {asked[1]} items"
    assert (own_runs / "tiny" / "journals" / token.details["journal"]).is_file()


def test_without_an_address_the_link_is_to_the_server_of_these_runs(command_line, own_runs):
    def link(rater: str) -> str:
        told = command_line("invite", "tiny", "--rater", rater, "--items", 8, "--no-corpus-text")
        assert told.code == 0, told.err
        return urlsplit(told.out.strip()).netloc

    assert link("ann") == "127.0.0.1:8731"
    write_address(own_runs, "https://rate.example.org")
    assert link("bob") == "rate.example.org"


def test_a_link_for_a_platform_has_a_place_for_its_parameter(command_line, own_runs, tmp_path):
    (tmp_path / "consent.txt").write_text("I agree.\n")
    told = command_line("invite", "tiny", "--crowd", "PROLIFIC_PID", "--items", 8, "--overlap", 3,
                        "--code", "C0DE", "--consent", "consent.txt",
                        "--no-corpus-text")  # fmt: skip
    assert told.code == 0, told.err
    link = urlsplit(told.out.strip())
    assert parse_qs(link.query)["PROLIFIC_PID"] == ["ID"]
    token = Tokens(own_runs).find(parse_qs(link.query)["token"][0])
    assert token.details["consent"] == "I agree."
    assert (token.details["code"], token.details["parameter"]) == ("C0DE", "PROLIFIC_PID")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--rater NAME"),
        (("--rater", "ann", "--crowd", "PID"), "--rater NAME"),
        (("--rater", "../x"), "letters, digits"),
        (("--rater", "ann", "--items", "0"), "items"),
        (("--crowd", "a b"), "parameter"),
        (("--rater", "ann", "--url", "example.org"), "https://NAME"),
        (("--rater", "ann", "--url", "https://example.org/rate"), "without a path"),
        (("--rater", "ann", "--return-url", "javascript:alert(1)"), "https://"),
        (("--rater", "ann", "--consent", "missing.txt"), "missing.txt"),
        (("--rater", "ann", "--rubric", "specificity-0-3"), "about descriptions"),
        (("--rater", "ann", "--days", "nan"), "days"),
    ],
)
def test_wishes_that_cannot_be_are_refused_and_leave_no_token(
    command_line, own_runs, arguments, words
):
    told = command_line("invite", "tiny", "--no-corpus-text", *arguments)
    assert told.code == 2, told
    assert words in told.err
    assert Tokens(own_runs).all() == []


def test_who_rated_an_item_in_a_pack_counts_as_one_of_the_overlap(own_runs: Path, tmp_path: Path):
    bare = Sitting(practice=False, guess=False, repeat_share=0)
    pack, journals = tmp_path / "for-pete.pack", own_runs / "tiny" / "journals"
    with open_run("tiny", folder=own_runs) as run:
        make_pack(run, load_rubric("interpretability-1-5"), spread(run, 8), bare, pack)
        with open_journal(pack, "human:pete") as journal:
            _rate_to_the_end(Machine(journal))
        ingest(run, pack)
    shared = replace(bare, overlap=2)
    sittings = {
        rater: invite("tiny", rater, 16, sitting=shared, corpus_text=False, runs=own_runs).session
        for rater in ("human:ann", "human:bob")
    }
    for rater, session in sittings.items():
        with open_journal(journals / session, rater) as journal:
            _rate_to_the_end(Machine(journal, None, OtherJournals(journals, rater).counts))
    with open_run("tiny", folder=own_runs) as run:
        ingest_journals(run)
        raters = run.rows(
            "SELECT list(DISTINCT rater ORDER BY rater) FROM unit_rating WHERE is_person(rater)"
            " AND NOT is_control GROUP BY item_id"
        )
    assert {tuple(one) for (one,) in raters} == {
        ("human:ann", "human:bob"),
        ("human:ann", "human:pete"),
    }


def _rate_to_the_end(machine: Machine) -> None:
    while machine.step is not None:
        machine.rate(3)
