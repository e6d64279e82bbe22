"""System checks of names that Flotilla shares with the rest of a project: commands of `manage.py`, and paths.

Nothing here is an error: what collides works on one of the two sides, and each hint says how both do. `path_collisions`
is for the other apps of ours that answer paths.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeGuard
from uuid import UUID

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Info, Warning, register
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver
from django.utils.regex_helper import normalize

from flotilla.realtime.command_names import SELF, is_ours, shared_names

CLIENTS = (
    "/connection/websocket",
    "/connection/http_stream",
    "/connection/sse",
    "/connection/uni_sse",
    "/emulation",
)
_PACKAGE = "flotilla."
_SAMPLES = ("1", "publish", str(UUID(int=0)), "a/b")  # values for a path's parameters, of which one fits mostly


@register("flotilla_names")
def check_commands(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Which commands are not to be had by their short name, and whose are not because of ours."""
    found: list[CheckMessage] = []
    for name, owners in shared_names().items():
        others = " and ".join(app.name for app in owners if not is_ours(app))
        if not is_ours(owners[0]):
            message = f"`manage.py {name}` runs the command of {owners[0].name}, not Flotilla's."
            hint = f"Write `manage.py {SELF} {name}` for Flotilla's."
            if name == SELF:
                hint = f"Move Flotilla's apps before {owners[0].name} in INSTALLED_APPS: it is the way to all others."
        else:
            message = f"`manage.py {name}` runs Flotilla's command, not that of {others}."
            hint = (
                f"Move Flotilla's apps behind {others} in INSTALLED_APPS: `manage.py {SELF} {name}` works all the same."
            )
        found.append(Warning(message, hint=hint, id="flotilla_realtime.W020"))
    return found


@register("flotilla_names")
def check_paths(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Which of our paths in the project's URLs, and of those answered before Django, others have as well."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    routes = all_routes()
    ours, others = [route for route in routes if route.is_ours], [route for route in routes if not route.is_ours]
    folders = dict.fromkeys(route.folder for route in ours if route.folder != "/")
    beside = {folder: [route for route in others if route.path.startswith(folder)] for folder in folders}
    return [*_hidden(ours), *_hiding(beside), *_shared(beside), *path_collisions(CLIENTS, others)]


class Route(NamedTuple):
    """A pattern of the project's URLs: how it is written, a path that it answers, and who does."""

    text: str
    path: str
    view: Any

    @property
    def is_ours(self) -> bool:
        """Whether a view of Flotilla answers it. Its pages in the admin are the admin's."""
        module = str(getattr(self.view, "__module__", ""))
        return module.startswith(_PACKAGE) and ".admin" not in module

    @property
    def folder(self) -> str:
        """The path up to the last part, or to the first parameter."""
        return self.text.partition("<")[0].rpartition("/")[0] + "/"

    def __str__(self) -> str:
        view = getattr(self.view, "view_class", self.view)  # what `as_view` makes has no name of its own
        module = getattr(view, "__module__", "?")
        return f"{self.text} ({module}.{getattr(view, '__qualname__', type(view).__qualname__)})"


def all_routes() -> list[Route]:
    """The patterns of the project's URLs, in the order in which they are tried, as far as a path for them is known."""
    return list(_routes(get_resolver(), "", ""))


def path_collisions(
    answered: Iterable[str],
    others: Sequence[Route] | None = None,
    hint: str = "Give your own view another path.",
) -> Iterator[CheckMessage]:
    """Warnings for paths that are `answered` before Django, where the project's URLs have them too."""
    others = [route for route in all_routes() if not route.is_ours] if others is None else others
    for path in answered:
        if _takes(found := _answering(path)):
            message = f"{path} is answered by Flotilla before Django: {found} is never asked for it."
            yield Warning(message, hint=hint, id="flotilla_realtime.W021")
        elif found is None and (inside := _beside(path, others)):
            message = f"{path} is answered by Flotilla, and the paths beside it by {inside[0]}."
            yield Info(message, hint="Both work; keep your own views from that path.", id="flotilla_realtime.I020")


def _hidden(ours: Sequence[Route]) -> Iterator[CheckMessage]:
    for route in chain.from_iterable(map(_in_full, ours)):
        if (found := _answering(route.path)) is not None and not found.is_ours:
            message = f"{route.text} of Flotilla is not reached: {found} comes before it."
            hint = 'Move Flotilla\'s URLs before it, or give them a path of their own: path("flotilla/", include(…)).'
            yield Warning(message, hint=hint, id="flotilla_realtime.W022")


def _in_full(route: Route) -> Iterator[Route]:
    """Our route, and the methods of the API by their names: others may have one of them, as `api/publish`."""
    from flotilla.realtime.api.methods import METHODS

    yield route
    folder, parameter, _ = route.text.partition("<str:method>")
    whole = _answering(route.path)
    if parameter and whole is not None and whole.is_ours:  # else that is said of the route, once
        yield from (Route(f"{folder}{name}", f"{folder}{name}", route.view) for name in METHODS)


def _hiding(beside: Mapping[str, Sequence[Route]]) -> Iterator[CheckMessage]:
    for route in dict.fromkeys(route for routes in beside.values() for route in routes):
        if (found := _answering(route.path)) is not None and found.is_ours:
            message = f"{route} is not reached: {found.text} of Flotilla comes before it."
            hint = 'Move Flotilla\'s URLs behind it, or give them a path of their own: path("flotilla/", include(…)).'
            yield Warning(message, hint=hint, id="flotilla_realtime.W023")


def _shared(beside: Mapping[str, Sequence[Route]]) -> Iterator[CheckMessage]:
    for folder, routes in beside.items():
        if routes:
            message = f"{folder} has paths of Flotilla and of others: {routes[0]}."
            hint = (
                'Both work, in the order of the URLs; path("flotilla/", include(…)) gives Flotilla\'s their own place.'
            )
            yield Info(message, hint=hint, id="flotilla_realtime.I021")


def _beside(path: str, others: Sequence[Route]) -> list[Route]:
    """The routes in a path's folder, unless that is the root, where all are."""
    folder = _folder_of(path)
    return [] if folder == "/" else [route for route in others if route.path.startswith(folder)]


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0] + "/"


def _takes(found: Route | None) -> TypeGuard[Route]:
    """Whether a route of others is meant for a path: one that takes all paths is not."""
    return found is not None and not found.is_ours and (found.folder != "/" or found.text == found.path)


def _answering(path: str) -> Route | None:
    try:
        match = get_resolver().resolve(path)
    except Resolver404:
        return None
    return Route(f"/{_plain(match.route)}", path, match.func)


def _routes(resolver: URLResolver, text: str, path: str) -> Iterator[Route]:
    for pattern in resolver.url_patterns:
        sample = _sample(pattern)
        if sample is None:
            continue
        written = f"{text}{_plain(str(pattern.pattern))}"
        if isinstance(pattern, URLPattern):
            yield Route(f"/{written}", f"/{path}{sample}", pattern.callback)
        else:
            yield from _routes(pattern, written, f"{path}{sample}")


def _plain(route: str) -> str:
    """A route without the signs for its beginning and its end, where it is a regular expression."""
    return route.replace("^", "").removesuffix("$").removesuffix(r"\Z")


def _sample(pattern: URLPattern | URLResolver) -> str | None:
    """A path that a pattern takes whole; None where none was found."""
    for form, names in normalize(pattern.pattern.regex.pattern):
        for value in _SAMPLES:
            try:
                candidate = form % dict.fromkeys(names, value)
            except (ValueError, TypeError, KeyError):  # it has a % that is meant as such, of which Django knows nothing
                return None
            match = pattern.pattern.match(candidate)
            if match is not None and not match[0]:
                return candidate
    return None
