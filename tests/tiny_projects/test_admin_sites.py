"""Projects with an admin site of their own: in place of Django's, or beside it under another name."""

from pathlib import Path

from tests.tiny_projects.tiny import TinyProject

OFFICE = """
from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig

class Office(AdminSite):
    site_header = "The office"

class OfficeConfig(AdminConfig):
    default_site = "office.Office"
"""
INSTEAD = 'INSTALLED_APPS[0] = "office.OfficeConfig"\n'
URLS_OF_ANOTHER = """
from django.urls import path
from office import Office
import flotilla

site = Office(name="office")
flotilla.register_admin(site)
flotilla.register_admin(site)
urlpatterns = [path("office/", site.urls)]
"""
URLS_OF_BOTH = (
    URLS_OF_ANOTHER
    + """
from django.contrib import admin
urlpatterns.append(path("admin/", admin.site.urls))
"""
)
PAGES = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_superuser("root"))
pages = ["flotilla_realtime/instance/", "flotilla_realtime/channel/", "flotilla_realtime/channel/chat:a/change/",
         "flotilla_realtime/connecteduser/", "flotilla_realtime/connection/", "flotilla_realtime/block/",
         "flotilla_ratelimit/personallimit/", "flotilla_ratelimit/personallimit/hottest/",
         "flotilla_ratelimit/personallimit/add/", "flotilla_monitoring/cluster/"]
answers = [client.get(f"/{ROOT}/{page}") for page in pages]
texts = [answer.content.decode() for answer in answers]
print(json.dumps([[answer.status_code for answer in answers], texts[1], texts[8]]))
"""


def seen(project: TinyProject, root: str) -> tuple[str, str]:
    """The page of channels and that of a new limit below a root, once all pages have answered."""
    assert "no issues" in project.manage("check")
    project.manage("migrate", "-v0")
    statuses, channels, limit = project.told(f"ROOT = {root!r}\n{PAGES}")
    assert statuses == [200] * 10
    return str(channels), str(limit)


def test_a_default_site_of_its_own_has_the_pages(tmp_path: Path, redis_url: str) -> None:
    channels, limit = seen(TinyProject(tmp_path / "instead", redis_url, INSTEAD, files={"office.py": OFFICE}), "admin")
    assert "The office" in channels
    assert "admin-autocomplete" in limit  # Django's own page of users is there, and can be searched


def test_another_site_gets_the_pages_when_it_is_told(tmp_path: Path, redis_url: str) -> None:
    """Users are not registered there, so they are named."""
    project = TinyProject(tmp_path / "another", redis_url, urls=URLS_OF_ANOTHER, files={"office.py": OFFICE})
    channels, limit = seen(project, "office")
    assert '<a href="/office/">Home</a>' in channels
    assert '<input type="text" name="user"' in limit
    assert '<input type="text" name="group"' in limit


def test_links_of_a_second_site_stay_there(tmp_path: Path, redis_url: str) -> None:
    project = TinyProject(tmp_path / "both", redis_url, urls=URLS_OF_BOTH, files={"office.py": OFFICE})
    channels, _ = seen(project, "office")
    assert '<a href="/office/">Home</a>' in channels
    assert "/admin/flotilla_realtime/" not in channels
