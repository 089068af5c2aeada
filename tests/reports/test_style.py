"""Labels of points that lie on each other, or at the edge of the axes, can all be read."""

from itertools import combinations

from autointerp.reports.style import (
    LABEL_PLACES,
    drawn_svg,
    headline,
    house_style,
    laid_out,
    legend_columns,
    part_labels,
    sheet,
    shortened,
    two_lines,
)


def test_labels_of_points_that_lie_together_do_not_overlap_and_stay_within_the_axes():
    with house_style("labels"):
        figure = sheet(4, 3.6)
        axes = figure.subplots()
        points = [(1.0, 3.0)] * 12 + [(2.0, 3.1), (2.0, 3.1), (0.0, 2.0)]
        axes.plot(*zip(*points, strict=True), "o")
        labels = [
            axes.annotate(
                f"an SAE, {number}", point, xytext=LABEL_PLACES[0], textcoords="offset points"
            )
            for number, point in enumerate(points)
        ]
        part_labels(figure, labels)
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in labels]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
        assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
        assert labels[-1].get_position() == LABEL_PLACES[0]  # where there is room, as ever


def test_what_stands_beneath_a_picture_stays_within_it():
    figure = sheet(10, 3)
    figure.subplots()
    headline(figure, "", "runs " + ", ".join(f"sweep.topk-{number}" for number in range(24)))
    figure.draw_without_rendering()
    (beneath,) = [text for text in figure.texts if text.get_text().startswith("runs")]
    assert beneath.get_window_extent().x1 <= figure.bbox.x1
    assert beneath.get_window_extent().y0 >= 0


def test_a_long_name_keeps_both_ends_and_a_short_one_all_of_it():
    assert shortened("human:ann", 44) == "human:ann"
    name = "layer-3 · local:/home/user/models/instruct-q4_k_m.gguf"
    short = shortened(name, 44)
    assert len(short) == 44
    assert short.startswith("layer-3 · local:")
    assert short.endswith("q4_k_m.gguf")
    assert "…" in short


def test_a_name_is_broken_behind_a_sign_before_anything_of_it_is_left_out():
    assert two_lines("neurons", 20) == "neurons"
    name = "gemma-2-2b/12-gemmascope-res-16k"
    assert two_lines(name, 20) == "gemma-2-2b/12-\ngemmascope-res-16k"
    lines = two_lines("a" * 60, 20).split("\n")
    assert [len(line) for line in lines] == [20, 20]
    assert "…" in lines[1]


def test_a_legend_has_as_many_columns_as_its_longest_name_leaves():
    assert legend_columns(["features", "neurons"], 10) == 8  # 15 letters of 0.079 inches each
    assert legend_columns(["features", "a" * 60], 10) == 1
    assert legend_columns(["features", "a" * 400], 10) == 1


def test_a_name_in_a_script_that_the_font_lacks_stays_text_and_warns_of_nothing():
    with house_style("script"):
        figure = sheet(3, 2)
        figure.subplots().set_yticks([0], ["特徴量"])  # warnings are errors here
        laid_out(figure).draw()
        assert "特徴量" in drawn_svg(figure)
