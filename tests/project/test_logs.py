"""What the log says of a request that Django refused, and of a failure of our own."""

import json
import logging

import pytest

from project.logs import JsonFormatter, logging_settings


@pytest.mark.parametrize(
    ("name", "traced"),
    [("django.security.DisallowedHost", False), ("django.request", True), ("flotilla.realtime.client", True)],
)
def test_only_a_failure_of_our_own_has_a_traceback(name: str, traced: bool) -> None:
    settings = logging_settings(as_json=True, instance="web-0")
    (passes,) = settings["handlers"]["console"]["filters"]
    try:
        raise ValueError("a reason")
    except ValueError as error:
        exc_info = (type(error), error, error.__traceback__)
    record = logging.LogRecord(name, logging.ERROR, "", 0, "refused", (), exc_info)
    assert passes(record)
    line = json.loads(JsonFormatter("web-0").format(record))
    assert line["message"] == "refused" and ("traceback" in line) is traced
