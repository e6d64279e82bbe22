"""Questions to a running Prometheus and Alertmanager, over their HTTP APIs.

Standard library only, blocking, with a timeout: for commands, not for the event loop. Whatever goes wrong is an
Unreachable that says where.
"""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT = 10.0  # seconds


class Unreachable(Exception):
    """It does not answer, or not as it should."""


def get(url: str, **parameters: str) -> Any:
    """The JSON at a URL. Raises Unreachable."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    if not url.startswith(("http://", "https://")):
        raise Unreachable(f"{url} is not an http:// address")
    try:
        with urllib.request.urlopen(url + query, timeout=TIMEOUT) as response:  # noqa: S310  checked above
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise Unreachable(f"{url} answers {error.code}: {error.read(300).decode(errors='replace')}") from error
    except (OSError, ValueError) as error:
        raise Unreachable(f"{url} does not answer: {error}") from error


class Prometheus:
    """One Prometheus. Every method raises Unreachable."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression now, each with `metric` and `value` (time, text)."""
        result: Any = self._data("query", query=expression)["result"]
        if isinstance(result, list) and result and not isinstance(result[0], dict):
            return [{"metric": {}, "value": result}]  # a scalar
        return list(result)

    def value(self, expression: str) -> float | None:
        """The one value of an expression, the first of several, or None."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def rules(self) -> list[dict[str, Any]]:
        """All rules that are loaded, recording and alerting."""
        return [rule for group in self._data("rules")["groups"] for rule in group["rules"]]

    def alerts(self) -> list[dict[str, Any]]:
        """What is pending or firing, each with `labels` and `state`."""
        return list(self._data("alerts")["alerts"])

    def targets(self) -> list[dict[str, Any]]:
        """The targets that are scraped, each with `labels`, `health` and `lastError`."""
        return list(self._data("targets", state="active")["activeTargets"])

    def alertmanagers(self) -> list[str]:
        """The addresses alerts are sent to."""
        return [one["url"] for one in self._data("alertmanagers")["activeAlertmanagers"]]

    def label_values(self, label: str, *matches: str) -> list[str]:
        """The values of a label, of all series or of those that match."""
        return list(self._data(f"label/{label}/values", **({"match[]": matches[0]} if matches else {})))

    def _data(self, path: str, **parameters: str) -> Any:
        answer = get(f"{self.url}/api/v1/{path}", **parameters)
        if not isinstance(answer, dict) or answer.get("status") != "success":
            raise Unreachable(f"{self.url} is not a Prometheus")
        return answer["data"]
