"""What a client is told that gets no answer, from 400 to 503: a small page for browsers, a problem for programs.

Everything is made here, of nothing but the status and a sentence: no template, no context, no database, and nothing
that a browser would have to fetch. So there is a page also when all of that is what fails. What an exception says is
not repeated: these pages are for anybody.

Our own server answers so what never gets to an application, rate limits what they deny, and Django what its handlers
are for, where a project has chosen those of `flotilla.error_handlers`. Imports nothing of ours.
"""

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from http import HTTPStatus

HTML = "text/html; charset=utf-8"
PROBLEM = "application/problem+json"  # RFC 9457
PLAIN = "text/plain"

# What happened, and what one can do about it
_WORDS = {
    400: ("This request cannot be answered", "Something in it is wrong. Go back and try again."),
    403: ("You may not do this", "Log in as somebody who may, or ask whoever runs this site."),
    404: ("There is no such page", "The address may be mistyped, or the page is gone."),
    408: ("Your request took too long", "It did not arrive in time. Please try again."),
    413: ("This is too large", "Send less, or in smaller parts."),
    414: ("This address is too long", "Shorten it, or send the data in a form."),
    429: ("Too many requests", "You ask for this more often than is allowed."),
    431: ("Your browser sent too much with its request", "Deleting this site's cookies often helps."),
    500: ("Something went wrong", "The fault is on our side. Please try again in a moment."),
    503: ("Not available right now", "Please try again in a moment."),
}
_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; color: #17202a; background: #f3f5f7; }
main { max-width: 32rem; margin: 15vh auto 0; padding: 0 1.25rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem; }
p { margin: 0 0 .75rem; }
small { font-size: .875rem; color: #566472; }
a { display: inline-block; padding: .25rem 0; color: #0f766e; }
@media (prefers-color-scheme: dark) {
  :root { color: #e4e9ee; background: #0e1216; }
  small { color: #93a1af; }
  a { color: #2dd4bf; }
}
"""
# Nothing is loaded, run, framed or sent from a page of ours, whatever a project's own policy allows.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def wants_html(accept: str) -> bool:
    """Whether a browser asks: browsers accept text/html by name, programs only `*/*`."""
    return "text/html" in accept.lower()


def answer(
    accept: str, status: int, detail: str = "", *, home: str = "", otherwise: str = PROBLEM
) -> tuple[dict[str, str], bytes]:
    """Headers and body for a client that accepts this: a page (with a link to `home`), a problem where it names JSON,
    else what `otherwise` says. `detail`: what else anybody may know."""
    if wants_html(accept):
        return _headers(HTML), page(status, detail, home=home).encode()
    if otherwise == PROBLEM or "json" in accept.lower():
        return _headers(PROBLEM), problem(status, detail)
    return _headers(otherwise), f"{detail or _phrase(status)}\n".encode()


def _headers(kind: str) -> dict[str, str]:
    headers = {"Content-Type": kind, "Cache-Control": "no-store"}
    return headers | {"Content-Security-Policy": POLICY} if kind == HTML else headers


def page(status: int, detail: str = "", *, home: str = "") -> str:
    """A whole page. `home`: where its link leads, if it has one."""
    title, advice = _WORDS.get(status, (_phrase(status) or "Error", ""))
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(advice)}</p>" if advice else ""]
    if detail and detail != _phrase(status):
        parts.append(f"<p>{escape(_sentence(detail))}</p>")
    if home:
        parts.append(f'<p><a href="{escape(home)}">Start page</a></p>')
    parts.append(f"<p><small>{status} {escape(_phrase(status))}</small></p>")
    return _PAGE.format(title=escape(title), style=_STYLE, content="\n".join(filter(None, parts)))


def problem(status: int, detail: str = "") -> bytes:
    """The same for programs (RFC 9457)."""
    said = {"title": _phrase(status), "status": status} | ({"detail": detail} if detail else {})
    return json.dumps(said).encode()


def _sentence(detail: str) -> str:
    whole = detail[:1].upper() + detail[1:]
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{content}
</main>
</body>
</html>
"""
