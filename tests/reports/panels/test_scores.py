from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.fabricate import add_all_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.findings.groups import Judgement
from autointerp.reports.panels import scores
from autointerp.reports.style import house_style


def judged(folder: Path, counts: dict[str, list[int]]) -> Judgement:
    units = {source: sum(levels) for source, levels in counts.items()}
    with fabricate_run(folder, units, contexts=0) as run:
        add_all_scores(run, "model:a", counts)
        return compare(run).judgements[0]


def test_the_picture_of_pairs_shows_all_three_shares(tmp_path: Path):
    # Two levels, half of the units on each: a quarter wins, half ties, a quarter losses.
    judgement = judged(tmp_path, {"features": [0, 0, 4, 4, 0], "neurons": [0, 0, 4, 4, 0]})
    with house_style("pairs"):
        left, right = scores.draw_pairs(judgement).axes
    assert [bar.get_width() for bar in left.patches] == [0.25, 0.5, 0.25]
    assert [text.get_text() for text in left.texts] == ["25 %", "50 %", "25 %"]
    assert [text.get_text() for text in right.texts] == ["0.50"]


def test_the_decisive_contrast_is_drawn_first_and_controls_below_on_the_same_axis(tmp_path: Path):
    counts = {name: [1, 1, 2, 1, 1] for name in ("shuffled", "neurons", "planted", "features")}
    pairs = [(c.first, c.second) for c in scores.drawn_contrasts(judged(tmp_path, counts))]
    assert pairs[0] == ("features", "neurons")
    assert set(pairs[1:]) == {
        (studied, control) for studied in ("features", "neurons")
        for control in ("planted", "shuffled")
    }  # fmt: skip


def test_a_source_alone_has_its_mean_over_its_picture_and_no_finding(tmp_path: Path):
    counts = {"features": [0, 1, 2, 3, 4], "planted": [0, 0, 0, 0, 10]}
    alone = judged(tmp_path / "alone", counts)
    both = judged(tmp_path / "both", counts | {"neurons": [4, 3, 2, 1, 0]})
    with house_style("alone"):
        assert scores.draw(alone).get_suptitle().startswith("features: mean score 4.00")
        assert scores.draw(both).get_suptitle().startswith("Features score higher than neurons")


@pytest.mark.parametrize("counts", [{"features": [1, 1, 1, 1, 1]}, {"planted": [0, 0, 0, 0, 5]}])
def test_without_a_contrast_there_is_no_such_picture(tmp_path: Path, counts: dict[str, list[int]]):
    assert scores.drawn_contrasts(judged(tmp_path, counts)) == []


def test_a_long_finding_and_three_sources_stay_inside_the_picture_and_apart(tmp_path: Path):
    judgement = judged(
        tmp_path,
        {
            "features": [0, 0, 5, 10, 15],
            "neurons": [15, 10, 5, 0, 0],
            "untrained": [0, 0, 5, 11, 14],
            "planted": [0, 0, 0, 0, 6],
            "shuffled": [6, 0, 0, 0, 0],
        },
    )
    with house_style("long"):
        figure = scores.draw(judgement)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        (main, *_), legends = figure.axes, [a.get_legend() for a in figure.axes if a.get_legend()]
        above = [text for part in figure.subfigs for text in part.texts]  # of the controls
        boxes = [
            artist.get_window_extent(canvas.get_renderer())
            for artist in (figure._suptitle, *legends, *above, *main.get_xticklabels())
        ]
    assert "\n" in figure.get_suptitle()
    for box in boxes:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes if other is not box)
