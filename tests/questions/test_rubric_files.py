import pytest

from autointerp.errors import RubricError, UnknownName
from autointerp.questions.rubric_files import (
    list_rubrics,
    load_rubric,
    parse_rubric,
    rubric_argument,
    rubrics_folder,
)

RUBRIC = load_rubric("interpretability-1-5")
SOURCE = (rubrics_folder() / "interpretability-1-5.md").read_text()


def replaced(old: str, new: str) -> str:
    assert old in SOURCE
    return SOURCE.replace(old, new, 1)


def test_shipped_rubrics_are_read_and_carry_the_name_of_their_file():
    assert sorted(p.stem for p in rubrics_folder().glob("*.md")) == [r.id for r in list_rubrics()]
    assert load_rubric("interpretability-0-3").scores == (0, 1, 2, 3)
    assert RUBRIC.scores == (1, 2, 3, 4, 5)


def test_a_rubric_of_ones_own_is_read_by_path(tmp_path):
    path = tmp_path / "mine.md"
    path.write_text(replaced('id = "interpretability-1-5"', 'id = "mine"'))
    assert load_rubric(str(path)).id == load_rubric(path).id == "mine"


def test_a_rubric_of_ones_own_is_asked_for_by_its_file():
    assert rubric_argument("interpretability-0-3") == "interpretability-0-3"
    assert rubric_argument("mine") == "PATH/mine.md"


def test_an_unknown_id_lists_the_known_ones():
    with pytest.raises(UnknownName, match="did you mean 'interpretability-1-5'"):
        load_rubric("interpretability-1-6")


def test_a_missing_file_and_one_that_is_not_text_are_named(tmp_path):
    with pytest.raises(RubricError, match=r"no rubric at .*gone\.md"):
        load_rubric(tmp_path / "gone.md")
    (tmp_path / "bytes.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RubricError, match=r"bytes\.md"):
        load_rubric(tmp_path / "bytes.md")
    with pytest.raises(RubricError, match="cannot be read"):
        load_rubric(tmp_path)


def test_digest_changes_with_content_and_not_with_layout():
    assert parse_rubric(SOURCE).digest == RUBRIC.digest
    assert parse_rubric(SOURCE.replace("\n", "\r\n")).digest == RUBRIC.digest
    assert (
        parse_rubric(replaced("version = 1", "# a comment\nversion =  1")).digest == RUBRIC.digest
    )
    for old, new in (("each_side = 8", "each_side = 4"), ("main criterion", "one criterion")):
        assert parse_rubric(replaced(old, new)).digest != RUBRIC.digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "', 'idea = 3\nid = "', r"my\.md: unknown key 'idea' \(known: id, version"),
        ("mark = true", "mark = true\nmarks = 1", r"unknown key 'shows\.marks' .*shows\.draws"),
        ("mark = true\n", "", r"key 'shows\.mark' is missing"),
        ("version = 1\n", "", "key 'version' is missing"),
        ("version = 1", "version = true", "'version' must be"),
        ("version = 1", 'version = "1"', "'version' must be"),
        ('id = "interpretability-1-5"', 'id = "In Capitals"', "'id' must be"),
        ('asks = ["description"]', 'asks = ["mood"]', "'asks' must be .*description"),
        ('asks = ["description"]', "asks = true", "'asks' must be"),
        ('draws = ["top"]', 'draws = ["best"]', r"'shows\.draws' must be .*top, interval, random"),
        ('draws = ["top"]', "draws = []", r"'shows\.draws' must be"),
        ('split = "explain"', 'split = "test"', r"'shows\.split' must be one of: explain, score"),
        ("contexts = 10", "contexts = 0", r"'shows\.contexts' must be"),
        ("contexts = 10", "contexts = 2.5", r"'shows\.contexts' must be"),
        ("each_side = 8", "each_side = -1", r"'shows\.each_side' must be"),
        ("mark = true", "mark = 1", r"'shows\.mark' must be true or false"),
        ('activations = "hidden"', 'activations = "shown"', "hidden, scaled"),
        ('1 = "seemingly', 'one = "seemingly', r"'scale\.one' must be a score"),
        ("{scale}", "{scale} {levels}", r"unknown placeholder '\{levels\}' \(known: \{scale\}"),
        ("{shown}", "", r"'\{shown\}' stands 0 times"),
        ("{reply}", "{reply}{reply}", r"'\{reply\}' stands 2 times"),
        ("version = 1", "version = ", "not TOML"),
        ("+++\n", "---\n", "no front matter"),
    ],
)
def test_a_fault_in_a_file_is_named_with_file_and_key(old, new, message):
    with pytest.raises(RubricError, match=message):
        parse_rubric(replaced(old, new), "my.md")


def test_a_rubric_cut_short_is_an_error_of_one_line():
    end = SOURCE.index("{reply}")
    for cut in range(0, end, 7):
        with pytest.raises(RubricError, match=r"\A.*\Z"):  # the dot matches no line break
            parse_rubric(SOURCE[:cut])
