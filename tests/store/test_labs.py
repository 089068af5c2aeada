from support.fabricate import make_older
from support.made_up import made_up_run

from autointerp.store.run import open_run


def test_rows_come_back_with_their_unit_in_the_order_of_the_source_and_of_the_lab(tmp_path):
    with made_up_run(tmp_path) as run:
        first, second = (unit.unit_id for unit in run.units("features")[:2])
        rows = [
            {"unit_id": second, "text": 'a "word"', "values": [1, None]},
            {"unit_id": first, "text": "b", "values": []},
            {"unit_id": first, "text": "a", "values": [0.5]},
        ]
        run.replace_lab_rows("lengths", [first, second], rows)
        assert "lengths" in run.lab_names()
        names = [{"unit": f"features/{n}", "source": "features"} for n in (0, 0, 1)]
        assert run.lab_rows("lengths") == [
            {**rows[1], **names[0]}, {**rows[2], **names[1]}, {**rows[0], **names[2]},
        ]  # fmt: skip


def test_a_lab_that_runs_again_replaces_its_rows_of_the_units_it_measured_alone(tmp_path):
    with made_up_run(tmp_path) as run:
        first, second = (unit.unit_id for unit in run.units("features")[:2])
        for lab in ("lengths", "angles"):
            rows = [{"unit_id": unit, "value": 1} for unit in (first, second)]
            run.replace_lab_rows(lab, [first, second], rows)
        run.replace_lab_rows("lengths", [first], [{"unit_id": first, "value": 2}])
        assert [row["value"] for row in run.lab_rows("lengths")] == [2, 1]
        assert [row["value"] for row in run.lab_rows("angles")] == [1, 1]
        run.replace_lab_rows("lengths", [first, second], [])
        assert "angles" in run.lab_names()
        assert "lengths" not in run.lab_names()


def test_a_run_from_before_there_were_labs_has_none_and_gets_the_table_when_it_is_written(tmp_path):
    with made_up_run(tmp_path) as run:
        unit_id = run.units("features")[0].unit_id
        make_older(run.connection, "TABLE lab")
    with open_run("golden", folder=tmp_path, read_only=True) as run:
        assert run.lab_names() == []
        assert run.lab_rows("lengths") == []
    with open_run("golden", folder=tmp_path) as run:
        run.replace_lab_rows("lengths", [unit_id], [{"unit_id": unit_id, "value": 1}])
        assert len(run.lab_rows("lengths")) == 1
