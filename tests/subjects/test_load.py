import pytest

from autointerp.errors import SettingsError
from autointerp.settings import RunSettings, SubjectSettings
from autointerp.subjects.load import load_subject


@pytest.mark.parametrize(
    ("device", "remedy"),
    [("cuda:99", "write 'cpu'"), ("no-such-device", "must be cpu"), ("cpu:x", "must be cpu")],
)
def test_a_device_that_is_not_there_is_named_before_anything_is_loaded(device: str, remedy: str):
    with pytest.raises(SettingsError, match=f"subject.device = '{device}'.*{remedy}"):
        load_subject(SubjectSettings(device=device))


def test_what_is_no_subject_table_is_refused():
    for given in ("autointerp.toml", RunSettings()):
        with pytest.raises(SettingsError, match=r"give load_settings\(PATH\)\.subject"):
            load_subject(given)
