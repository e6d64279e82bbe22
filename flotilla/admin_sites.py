"""Flotilla's pages on an admin site of the project's own.

On Django's default site (and on the one that `AdminConfig.default_site` puts in its place) they are by themselves. Any
other site gets them where its own pages are registered:

    site = AdminSite(name="office")
    flotilla.register_admin(site)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from django.apps import apps
from django.utils.module_loading import module_has_submodule

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite


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
