import pytest

from autointerp.reports.panels.units import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 日本", "naïve 日本"),
        ("a\nb\tc\r", "a⏎b⇥c␍"),
        ("\x00\x1b", "␀␛"),
        ("\u202e\u2066\u200b\ufeff", "⟨U+202E⟩⟨U+2066⟩⟨U+200B⟩⟨U+FEFF⟩"),
        ("\udc80", "⟨U+DC80⟩"),
        ("न\u200d", "न\u200d"),  # joiners belong to scripts and to emoji
    ],
)
def test_unseen_characters_are_made_visible_and_others_left(text: str, shown: str):
    assert visible(text) == shown
