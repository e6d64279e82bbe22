"""The page of a run."""

from flotilla.ops.load import figures, report_page
from flotilla.ops.load.verdicts import Verdict
from tests.ops.load.reports import report


def test_the_page_shows_verdicts_and_charts_and_escapes_what_it_is_given() -> None:
    told = [
        {
            "second": second,
            "clients": 3,
            "pages": second,
            "delivered": second * 9,
            "denied": 0,
            "p95": 4.5,
            "late": None,
        }
        for second in range(1, 5)
    ]
    verdicts = [Verdict("lost", False, "3 <publications>"), Verdict("p95", True, "4 ms")]
    text = report_page.render("Load: smoke", verdicts, figures.read(report()), told, "")
    assert "3 &lt;publications&gt;" in text
    assert text.count("<polyline") == 5
    assert "FAIL" in text
