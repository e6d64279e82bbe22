"""A run's progress, a second a line, read while it is written."""

from pathlib import Path

from flotilla.ops.load import progress


def test_a_line_of_progress_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "progress-1-1.jsonl").write_text('{"second": 2}\n{"second": 1}\n{"seco')
    assert [entry["second"] for entry in progress.seconds(tmp_path)] == [1, 2]
