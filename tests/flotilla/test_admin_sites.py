"""The index of an admin site: one group for all of Flotilla's pages, in the order in which one needs them."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.test import Client, RequestFactory

import flotilla
from flotilla.admin_sites import ORDER, group_pages

PAGES = ["Cluster", "Instances", "Users", "Connections", "Channels", "Blocks", "Outbox rows", "Personal limits"]


@pytest.fixture
def request_of_root(db: None) -> HttpRequest:
    request = RequestFactory().get("/admin/")
    request.user = User.objects.create_superuser("root")
    return request


def listed(site: AdminSite, request: HttpRequest, label: str | None = None) -> list[tuple[str, list[str]]]:
    return [(app["name"], [page["name"] for page in app["models"]]) for app in site.get_app_list(request, label)]


def test_there_is_one_group_in_order(request_of_root: HttpRequest) -> None:
    """Whichever of our apps is asked for, it is the group; other apps are as they were."""
    groups = dict(listed(admin.site, request_of_root))
    assert groups["Flotilla"] == PAGES
    assert sum(set(pages) & set(PAGES) != set() for name, pages in groups.items()) == 2  # ours, and Django's users
    for label in {label.partition(".")[0] for label in ORDER}:
        assert listed(admin.site, request_of_root, label) == [("Flotilla", PAGES)], label
    assert listed(admin.site, request_of_root, "auth") == [("Authentication and Authorization", ["Groups", "Users"])]
    assert listed(admin.site, request_of_root, "nothing") == []


@pytest.mark.django_db
def test_each_of_our_apps_leads_to_the_group(client: Client) -> None:
    """The links of breadcrumbs too."""
    client.force_login(User.objects.create_superuser("root"))
    for label in ("flotilla_realtime", "flotilla_ratelimit", "flotilla_monitoring"):
        page = client.get(f"/admin/{label}/").content.decode()
        assert "Flotilla administration" in page
        assert "/admin/flotilla_realtime/instance/" in page
    assert client.get("/admin/nothing/").status_code == 404


@pytest.mark.django_db
def test_who_may_see_nothing_of_it_has_no_group(client: Client) -> None:
    """Staff always have the page of the cluster, and nothing else without permissions."""
    client.force_login(User.objects.create_user("eve", is_staff=True))
    page = client.get("/admin/").content.decode()
    assert "/admin/flotilla_monitoring/cluster/" in page
    assert "/admin/flotilla_realtime/instance/" not in page


def test_a_site_with_a_list_of_its_own_keeps_it(request_of_root: HttpRequest) -> None:
    """Only our entries in it become one, where the first of them was; doing it twice is doing it once."""

    class Office(AdminSite):
        def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
            return list(reversed(super().get_app_list(request, app_label)))

    site = Office(name="admin")
    site.register(Group)
    before = listed(site, request_of_root)
    flotilla.register_admin(site)
    group_pages(site)
    assert listed(site, request_of_root) == [("Flotilla", PAGES), *before]
