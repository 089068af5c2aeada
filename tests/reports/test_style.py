"""Labels of points that lie on each other, or at the edge of the axes, can all be read."""

from itertools import combinations

from autointerp.reports.style import LABEL_PLACES, house_style, part_labels, sheet


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
