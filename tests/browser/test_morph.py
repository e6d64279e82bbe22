"""What a live refresh leaves alone, in a real browser: `morph` makes one tree another and keeps what somebody is at."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import ROOT

MORPH = ROOT / "realtime" / "static" / "realtime" / "morph.js"
REFRESH = """([html]) => {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  window.morph(document.getElementById("rows"), fresh.content);
}"""


def table(*rows: str, note: str = "") -> str:
    """Rows are `key=text`."""
    pairs = [row.partition("=") for row in rows]
    cells = "".join(
        f'<tr data-key="{key}"><td><input type="checkbox" value="{key}"></td>'
        f'<td><a href="#{key}">{text}</a></td><td><details><summary>more</summary>{text}</details>'
        f'<input type="text" value=""></td></tr>\n'
        for key, _, text in pairs
    )
    return f'{note}<div class="results"><table><tbody>{cells}</tbody></table></div>'


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that is served nowhere, with the module in it."""
    page = browser.new_page(viewport={"width": 390, "height": 400})
    page.set_content(f'<div id="rows">{table("a=ann", "b=bob", "c=cleo")}</div>')
    page.add_script_tag(content=f"{MORPH.read_text()}\nwindow.morph = morph;", type="module")
    page.wait_for_function("() => Boolean(window.morph)")
    yield page
    page.close()


def refresh(page: Page, html: str) -> None:
    page.evaluate(REFRESH, [html])


def keys(page: Page) -> list[str]:
    found: list[str] = page.evaluate("[...document.querySelectorAll('tr')].map((row) => row.dataset.key)")
    return found


def selected(page: Page) -> str:
    return str(page.evaluate("document.getSelection().toString()"))


def select(page: Page, key: str) -> None:
    page.evaluate(
        "([key]) => document.getSelection().selectAllChildren(document.querySelector(`[data-key=${key}] a`))", [key]
    )


def test_rows_become_those_of_the_answer(page: Page) -> None:
    """Added, removed, changed and in another order, with attributes; what stays is the same node."""
    page.evaluate("window.bob = document.querySelector('[data-key=b]')")
    refresh(page, table("d=dirk", "c=cleo", "b=bob &amp; co", note='<p class="errornote">!</p>'))
    assert keys(page) == ["d", "c", "b"]
    assert page.locator("[data-key=b] a").text_content() == "bob & co"
    assert page.locator(".errornote").count() == 1
    assert page.evaluate("window.bob === document.querySelector('[data-key=b]')")
    refresh(page, table())
    assert keys(page) == []
    assert page.locator(".errornote").count() == 0


def test_what_somebody_does_is_left_alone(page: Page) -> None:
    """Focus, a ticked box, typed text and an opened detail, while rows come, go and change around them."""
    page.check("[data-key=b] [type=checkbox]")
    page.fill("[data-key=b] [type=text]", "half a sen")
    page.click("[data-key=c] summary")
    page.focus("[data-key=c] a")
    for rows in (["b=bob", "c=cleo"], ["c=cleo 2", "x=new", "b=bob"], ["b=bob", "x=new", "c=cleo"]):
        refresh(page, table(*rows))
        assert keys(page) == [row[0] for row in rows]
        assert page.is_checked("[data-key=b] [type=checkbox]")
        assert page.input_value("[data-key=b] [type=text]") == "half a sen"
        assert page.locator("[data-key=c] details").get_attribute("open") == ""
        assert page.evaluate("document.activeElement.getAttribute('href')") == "#c"


@pytest.mark.parametrize(
    "rows",
    [["x=1", "a=ann", "b=bob", "c=cleo"], ["c=cleo", "b=bob", "a=ann"], ["b=bob"], ["b=bob", "c=9", "a=8"]],
    ids=["one before", "reversed", "alone", "others changed"],
)
def test_selected_text_stays_selected(page: Page, rows: list[str]) -> None:
    select(page, "b")
    refresh(page, table(*rows))
    assert keys(page) == [row[0] for row in rows]
    assert selected(page) == "bob"


def test_a_selection_over_text_that_changes_covers_it_still(page: Page) -> None:
    """As with a time that passes: its ends are where they were, as far as the text reaches."""
    page.evaluate(
        "() => { const text = (key) => document.querySelector(`[data-key=${key}] a`).firstChild;"
        " document.getSelection().setBaseAndExtent(text('a'), 1, text('c'), 4); }"
    )
    refresh(page, table("a=anna", "b=bob", "c=cl"))
    assert selected(page).startswith("nna")
    assert selected(page).endswith("cl")


def test_a_row_that_is_gone_stays_while_somebody_is_at_it(page: Page) -> None:
    """Marked, where it was; afterwards it goes. One that comes back is as any other."""
    for at in ("select", "focus", "check"):
        refresh(page, table("a=ann", "b=bob", "c=cleo"))
        if at == "select":
            select(page, "b")
        elif at == "focus":
            page.focus("[data-key=b] a")
        else:
            page.check("[data-key=b] [type=checkbox]")
        for _ in range(2):
            refresh(page, table("a=ann", "c=cleo", "d=dirk"))
            assert keys(page) == ["a", "b", "c", "d"], at
            assert page.locator("[data-gone]").count() == 1
        refresh(page, table("a=ann", "b=bob"))
        assert page.locator("[data-gone]").count() == 0
        leave(page)
        refresh(page, table("a=ann"))
        assert keys(page) == ["a"], at


def leave(page: Page) -> None:
    page.evaluate(
        "() => { document.getSelection().removeAllRanges(); document.activeElement.blur();"
        " for (const box of document.querySelectorAll('[type=checkbox]')) box.checked = false; }"
    )


def test_a_table_stays_scrolled(page: Page) -> None:
    """Sideways as on a phone, though a note comes above it."""
    page.add_style_tag(content=".results { overflow-x: auto } table { width: 1500px }")
    page.evaluate("document.querySelector('.results').scrollLeft = 300")
    for note in ("", '<p class="errornote">1 of 2 instances have answered</p>', ""):
        refresh(page, table("a=ann", "b=bob", note=note))
        assert page.evaluate("document.querySelector('.results').scrollLeft") == 300


def test_two_rows_of_one_key_are_both_shown(page: Page) -> None:
    for _ in range(2):
        refresh(page, table("a=one", "a=two", "b=bob"))
        assert page.locator("tr a").all_text_contents() == ["one", "two", "bob"]


def test_any_order_becomes_any_other(page: Page) -> None:
    """With the focus anywhere."""
    wrong: list[Any] = page.evaluate(
        """() => {
          const rows = document.getElementById("rows");
          const wrong = [];
          let seed = 7;
          const random = (most) => { seed = (seed * 48271) % 2147483647; return seed % most; };
          for (let round = 0; round < 500; round += 1) {
            const wanted = [..."abcdefgh"].filter(() => random(4)).sort(() => random(3) - 1);
            const focused = document.activeElement.id;
            const fresh = document.createElement("template");
            fresh.innerHTML = wanted.map((key) => `<button id="${key}">${key}</button> `).join("");
            window.morph(rows, fresh.content);
            const found = [...rows.querySelectorAll("button:not([data-gone])")].map((one) => one.id);
            if (found.join() !== wanted.join() || document.activeElement.id !== focused) wrong.push([wanted, found]);
            rows.querySelectorAll("button")[random(wanted.length || 1)]?.focus();
          }
          return wrong;
        }"""
    )
    assert not wrong
