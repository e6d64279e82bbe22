"""axe-core, put into a page in the browser: what it finds against WCAG 2.2, levels A and AA, as an assertion's text."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

SOURCE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SETTLE = """async () => {
    const ends = (animation) => animation.effect.getTiming().iterations < Infinity;
    await Promise.allSettled(document.getAnimations().filter(ends).map((animation) => animation.finished));
}"""
RUN = """async (tags) => {
    const runOnly = { type: "tag", values: tags };
    const { violations } = await axe.run(document, { runOnly, resultTypes: ["violations"] });
    return violations.map(({ id, help, helpUrl, nodes }) => ({
        id, help, helpUrl, nodes: nodes.map(({ html, target, failureSummary }) => ({ html, target, failureSummary })),
    }));
}"""


def settle(page: Page) -> None:
    """Wait until the page's colours are those that it goes to."""
    page.evaluate(SETTLE)


def violations(page: Page) -> list[str]:
    """What the page does wrong, one text for each node: the rule, what to do, and where."""
    if not SOURCE.exists():
        pytest.skip("no `npm ci` in tests/browser")
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(SOURCE.read_text())  # as the debugger's own script: a page's policy does not hold it up
    settle(page)
    found: list[dict[str, Any]] = page.evaluate(RUN, TAGS)
    return [_told(rule, node) for rule in found for node in rule["nodes"]]


def _told(rule: dict[str, Any], node: dict[str, Any]) -> str:
    where = " ".join(map(str, node["target"]))
    lines = (f"{rule['id']}: {rule['help']}", f"{where}: {node['html'][:200]}", node["failureSummary"], rule["helpUrl"])
    return "\n  ".join(lines)
