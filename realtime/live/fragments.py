"""One row of live data as HTML: a template's element, with the row's key and place in it.

A template that its live model names (`templates`) is rendered once for everybody, without a request: so it knows no
user, and what it makes travels in the publication of the change. Any other one is rendered for each page, with the
page's request. Both escape as Django's templates do; added to them are two attributes, and nothing of a row.

`{% live %}` signs which template a page shows a channel with, so that nobody has another one rendered.
"""

import logging
import re
from typing import Any

from django.core.signing import BadSignature, Signer
from django.db.models import Model
from django.http import HttpRequest
from django.template import TemplateSyntaxError
from django.template.loader import get_template
from django.utils.html import escape

from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.order import place

logger = logging.getLogger("flotilla.realtime.live")

MAX_BYTES = 64 * 1024
"""Of all fragments in a publication: pages fetch those beyond it."""
_BEGINNING = re.compile(r"(?:<!--.*?-->\s*)*<[A-Za-z][^\s/>]*", re.DOTALL)
_SALT = "flotilla.realtime.live.fragments"


def key_of(live: LiveModel, row: Model) -> str:
    """The row's key in its channels."""
    return live.key_of(getattr(row, live.concrete(live.key).attname))


def place_of(live: LiveModel, row: Model) -> str:
    """The row's place among its channel's: by the fields of `order`, else by those of the model, then by its key."""
    ordering = live.order or row._meta.ordering or ()
    names = [name for name in ordering if isinstance(name, str) and name != "?"]
    values = [_value(row, name.removeprefix("-")) for name in names]
    return place([*values, row.pk], downwards=[name.startswith("-") for name in names])


def _value(row: Any, name: str) -> Any:
    """A field's value, also over relations; None where one of them leads nowhere."""
    for part in name.split("__"):
        row = None if row is None else getattr(row, part)
    return row.pk if isinstance(row, Model) else row


def fragment(live: LiveModel, row: Model, template: str, request: HttpRequest | None = None) -> str:
    """The row in a template, "" where that makes nothing of it: then the row is not shown.

    The template is given the row as `row` and under its model's name, and `key`. Raises TemplateSyntaxError where it
    begins with a text.
    """
    key = key_of(live, row)
    context = {"row": row, str(row._meta.model_name): row, "key": key}
    html = get_template(template).render(context, request).strip()
    if not html:
        return ""
    beginning = _BEGINNING.match(html)
    if beginning is None:
        raise TemplateSyntaxError(f"{template} begins with {html[:40]!r}: write one element, which is the row")
    at = beginning.end()
    return f'{html[:at]} data-live-key="{escape(key)}" data-live-place="{place_of(live, row)}"{html[at:]}'


def published(live: LiveModel, row: Model) -> dict[str, str]:
    """What goes into the publication of a change: the row in each template that the live model names.

    A template that fails is no reason for the change to fail: it is logged and left out, as is what does not fit. Pages
    fetch what they do not find.
    """
    found: dict[str, str] = {}
    left = MAX_BYTES
    for template in live.templates:
        try:
            html = fragment(live, row, template)
        except Exception:
            logger.exception("%s cannot show %s %s: pages will ask for it", template, live.label, row.pk)
            continue
        left -= len(html.encode(errors="replace"))
        if left < 0:
            logger.warning("%s %s is too long in %s: pages will ask for it", live.label, row.pk, template)
            break
        found[template] = html
    return found


def signature(channel: str, template: str) -> str:
    """What says that a page shows this channel with this template."""
    return Signer(salt=_SALT).signature(_signed(channel, template))


def is_signed(channel: str, template: str, said: str) -> bool:
    """Whether `signature` said so, with this SECRET_KEY or one of its fallbacks."""
    signer = Signer(salt=_SALT)
    try:
        signer.unsign(f"{_signed(channel, template)}{signer.sep}{said}")
    except BadSignature:
        return False
    return True


def _signed(channel: str, template: str) -> str:
    return f"{channel}\n{template}"
