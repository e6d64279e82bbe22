"""`{% load flotilla %}`: rows of live models in a page, rendered now and kept right by a script.

    {% live "board:7" template="tickets/_row.html" tag="ul" class="rows" %}
    {% live "board:7" template="tickets/_row.html" as rows %}<tbody {{ rows.attributes }}>{{ rows.html }}</tbody>
    {% live_script %}

Without JavaScript that is the whole page. The attributes of the element around the rows say what the script needs: the
channel, the stream's position and the version that the rows are as of, and the template with its signature. Who may not
subscribe to the channel is shown nothing of it.
"""

import logging
import re
from typing import Any

from asgiref.sync import async_to_sync
from django import template
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.template import Context, TemplateSyntaxError
from django.templatetags.static import static
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from flotilla.realtime.access.tokens import user_id
from flotilla.realtime.api.state_access import require_page
from flotilla.realtime.api.state_endpoint import position_of
from flotilla.realtime.conf import get_config
from flotilla.realtime.live.fragment_pages import Beginning, Look, beginning
from flotilla.realtime.live.fragments import signature
from flotilla.realtime.live.state import NotLive, shown_in
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.store import StoreUnavailable

logger = logging.getLogger("flotilla.realtime.live")
register = template.Library()

_TAG = re.compile(r"[a-z][a-z0-9-]*\Z")


class LiveRows:
    """What `{% live %}` makes: shown as it is, an element with the rows; `attributes` and `html` are for an element of
    the template's own, in which the rows are the only children."""

    def __init__(self, attributes: dict[str, Any], html: str, tag: str) -> None:
        self.attributes: SafeString = format_html_join(" ", '{}="{}"', attributes.items())
        self.html = SafeString(html)  # what templates made
        self._tag = tag

    def __html__(self) -> str:
        return f"<{self._tag} {self.attributes}>{self.html}</{self._tag}>"

    __str__ = __html__


@register.simple_tag(takes_context=True)
def live(context: Context, channel: str, template: str, tag: str = "div", **attributes: Any) -> LiveRows | str:
    """The rows of a channel, each in the template; further arguments are attributes of the element around them."""
    request = context.get("request")
    if not isinstance(request, HttpRequest):
        raise ImproperlyConfigured(
            "{% live %} asks who looks: render the page with its request, and with "
            "django.template.context_processors.request among the context processors"
        )
    if not _TAG.match(tag):
        raise TemplateSyntaxError(f"{{% live %}}: {tag!r} is no tag")
    if not _may_look(request, channel):
        return ""
    position = _position(channel)  # before the rows, so that nothing falls between
    try:
        found = beginning(Look(channel, (template,), request), *shown_in(channel))
    except NotLive:
        raise ImproperlyConfigured(f"{{% live %}}: no live model shows rows in the channel {channel!r}") from None
    return LiveRows({**attributes, **_told(channel, template, position, found)}, "".join(found.rows), tag)


def _may_look(request: HttpRequest, channel: str) -> bool:
    """Whether who looks may subscribe to the channel."""
    user = getattr(request, "user", None)
    user_id(user)  # loads it, where it is lazy: what follows runs in an event loop, where that is not allowed
    try:
        async_to_sync(require_page)(user, channel, get_config())
    except CommandError as error:
        if error.code in (ErrorCode.UNKNOWN_CHANNEL, ErrorCode.BAD_REQUEST, ErrorCode.NOT_AVAILABLE):
            raise ImproperlyConfigured(f"{{% live %}}: the channel {channel!r}: {error.message}") from error
        if error.code != ErrorCode.PERMISSION_DENIED:
            logger.warning("{%% live %%} shows nothing of %r: %s", channel, error)
        return False
    return True


def _position(channel: str) -> tuple[str, int] | None:
    """Where the channel's stream is; None with Redis away: the script loads the rows once it is back."""
    try:
        position = position_of(channel)
    except StoreUnavailable as error:
        logger.warning("the position of %r could not be read: %s", channel, error)
        return None
    return position.epoch, position.offset


def _told(channel: str, template: str, position: tuple[str, int] | None, found: Beginning) -> dict[str, Any]:
    try:
        address = reverse("flotilla_fragment", args=[channel])
    except NoReverseMatch:
        raise ImproperlyConfigured(
            '{% live %} needs path("", include("flotilla.urls")) in the project\'s URLs'
        ) from None
    told = {
        "data-live": channel,
        "data-live-fragments": address,
        "data-live-template": template,
        "data-live-signature": signature(channel, template),
    }
    if position is None or not found.complete:
        return told
    epoch, offset = position
    return told | {"data-live-epoch": epoch, "data-live-offset": offset, "data-live-version": found.version}


@register.simple_tag
def live_script(nonce: str = "") -> SafeString:
    """The scripts, from this host; none is inline. `nonce`: for a policy that asks for one (`{{ csp_nonce }}`)."""
    said = format_html(' nonce="{}"', nonce) if nonce else ""
    return format_html(
        '<script src="{}" defer{}></script>\n'
        '<script src="{}" type="module" id="flotilla-live" data-root="{}"{}></script>',
        static("realtime/vendor/centrifuge.js"),
        said,
        static("realtime/live-html.js"),
        get_script_prefix(),
        said,
    )
