"""Records on disk: folders appear whole or not at all."""

import pytest

from bort_engine.runs import records


def test_a_folder_appears_whole_or_not_at_all_and_the_first_one_stays(tmp_path):
    path = tmp_path / "deep" / "model"
    with pytest.raises(KeyboardInterrupt), records.whole_folder(path) as part:
        (part / "weights").write_text("half")
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    for text in ("first", "second"):
        with records.whole_folder(path) as part:
            (part / "weights").write_text(text)
    assert [file.name for file in path.parent.iterdir()] == ["model"]
    assert (path / "weights").read_text() == "first"
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(OSError, match="directory"), records.whole_folder(blocked):
        pass
