"""Flotilla's pages on an admin site of the project's own.

On Django's default site (and on the one that `AdminConfig.default_site` puts in its place) they are by themselves. Any
other site gets them where its own pages are registered:

    site = AdminSite(name="office")
    flotilla.register_admin(site)

On each of these sites the pages of all our apps are one group of the index, in the order in which one needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.utils.module_loading import module_has_submodule

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.http import HttpRequest

GROUP = "flotilla_realtime"  # the app whose address the group has
ORDER = (
    "flotilla_monitoring.Cluster",
    "flotilla_realtime.Instance",
    "flotilla_realtime.ConnectedUser",
    "flotilla_realtime.Connection",
    "flotilla_realtime.Channel",
    "flotilla_realtime.Block",
    "flotilla_realtime.OutboxRow",
    "flotilla_ratelimit.PersonalLimit",
)
"""From the whole to the single: what the cluster does, who is in it, where, and what one does about it."""
OURS = frozenset(label.partition(".")[0] for label in ORDER)


def register_admin(site: "AdminSite") -> None:
    """Put the pages of Flotilla's installed apps on an admin site; those that are there already stay. Call it when the
    apps are ready: in an `admin.py`, in the URLs, or in `AppConfig.ready`."""
    from django.contrib import admin

    for app in apps.get_app_configs():
        if app.name.startswith("flotilla.") and module_has_submodule(app.module, "admin"):
            import_module(f"{app.name}.admin")  # registers them on the default site
            for model in app.get_models():
                if admin.site.is_registered(model) and not site.is_registered(model):
                    site.register(model, type(admin.site.get_model_admin(model)))
    group_pages(site)


def group_pages(site: "AdminSite") -> None:
    """Make one group of our apps' pages in a site's index, however the site itself makes the list; again is nothing."""
    given = site.get_app_list
    if getattr(given, "groups_flotilla", False):
        return

    def get_app_list(request: "HttpRequest", app_label: str | None = None) -> list[Any]:
        if app_label is not None and app_label not in OURS:
            return list(given(request, app_label))
        listed = _grouped(given(request))
        return listed if app_label is None else [app for app in listed if app["app_label"] in OURS]

    get_app_list.groups_flotilla = True  # type: ignore[attr-defined]
    site.get_app_list = get_app_list  # type: ignore[method-assign]


def _grouped(listed: list[Any]) -> list[Any]:
    ours = [app for app in listed if app["app_label"] in OURS]
    if not ours:
        return listed
    first = next((app for app in ours if app["app_label"] == GROUP), ours[0])
    group = first | {"models": sorted((page for app in ours for page in app["models"]), key=_rank)}
    return [group if app is ours[0] else app for app in listed if app is ours[0] or app not in ours]


def _rank(page: Any) -> int:
    label = page["model"]._meta.label
    return ORDER.index(label) if label in ORDER else len(ORDER)
