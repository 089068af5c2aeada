from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.fabricate import add_all_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.findings.groups import Judgement
from autointerp.reports.panels import Figure, Material, scores
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


def test_of_many_sources_and_levels_no_text_lies_on_another_and_what_is_left_out_is_said(
    tmp_path: Path,
):
    rubric = "interpretability-0-14"
    counts = {f"gemma-2-2b/{layer}-gemmascope-res-16k": [1] * 15 for layer in range(9)}
    counts["planted"] = [0] * 14 + [5]
    units = {source: sum(levels) for source, levels in counts.items()}
    with fabricate_run(tmp_path, units, contexts=0) as run:
        add_all_scores(run, "model:a", counts, rubric)
        comparison = compare(run)
    (judgement,) = comparison.judgements
    with house_style("many"):
        figure = scores.draw(judgement)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        main = figure.axes[0]
        legend = main.get_legend()
        assert legend is not None
        whole = figure.bbox
        box = legend.get_window_extent()
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
        assert box.y0 >= main.get_window_extent().y1
        assert len({patch.get_facecolor() for patch in legend.get_patches()}) == 8
        for axes in (main, figure.axes[-1]):
            ticks = [t.get_window_extent() for t in axes.get_xticklabels() if t.get_text()]
            assert not [one for one, other in pairwise(ticks) if one.x1 > other.x0]
        # Bars of 8 sources on 15 levels are too thin for their shares, and the words go below.
        assert [text.get_text() for text in main.texts if text.get_text()] == []
        assert main.get_xlabel() == "0: nothing; 14: perfect"
    blocks = scores.show(Material((comparison,), (run,)))
    bars, pairs = (block.caption for block in blocks if isinstance(block, Figure))
    assert bars.endswith("Drawn are the first 8 of 9 sources; the tables below have all.")
    # 36 pairs of 9 sources, and 9 with the control.
    assert pairs.endswith("Drawn are the first 8 of 45 pairs; the tables below have all.")
