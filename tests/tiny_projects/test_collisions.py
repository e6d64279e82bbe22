"""Names that a project has already: commands of its apps, and paths of its URLs. A check names each, with its mend."""

from pathlib import Path

import pytest

from tests.tiny_projects.tiny import TinyProject

COMMAND = """
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def handle(self, **options):
        self.stdout.write("the store's own")
"""
STORE = {
    "store/__init__.py": "",
    "store/management/__init__.py": "",
    "store/management/commands/__init__.py": "",
    "store/management/commands/publish.py": COMMAND,
    "store/management/commands/shelve.py": COMMAND,
}
URLS = """
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.views import View

class Items(View): ...

def view(request, **rest):
    return HttpResponse("the store's own")

ours = path("{prefix}", include("flotilla.realtime.api.urls"))
urlpatterns = [{patterns}]
"""


def test_a_command_of_an_earlier_app_keeps_its_name_and_ours_stays_in_reach(tmp_path: Path, redis_url: str) -> None:
    settings = 'INSTALLED_APPS.insert(0, "store")'
    project = TinyProject(tmp_path / "earlier", redis_url, settings, files=STORE)
    said = project.manage("check")
    assert "(flotilla_realtime.W020) `manage.py publish` runs the command of store, not Flotilla's." in said
    assert "HINT: Write `manage.py flotilla publish` for Flotilla's." in said
    assert said.count("W020") == 1
    assert "the store's own" in project.manage("publish")
    assert "Published into chat:a as offset 1" in project.manage("flotilla", "publish", "chat:a", '"hello"')


def test_a_command_of_a_later_app_is_said_to_be_hidden(tmp_path: Path, redis_url: str) -> None:
    project = TinyProject(tmp_path / "later", redis_url, 'INSTALLED_APPS.append("store")', files=STORE)
    said = project.manage("check")
    assert "`manage.py publish` runs Flotilla's command, not that of store." in said
    assert "HINT: Move Flotilla's apps behind store in INSTALLED_APPS" in said


def test_an_extension_of_our_command_is_the_command(tmp_path: Path, redis_url: str) -> None:
    extended = """
    from flotilla.realtime.management.commands.publish import Command as Publish

    class Command(Publish):
        def handle(self, **options):
            self.stdout.write("first the store's own")
            super().handle(**options)
    """
    files = STORE | {"store/management/commands/publish.py": extended}
    project = TinyProject(tmp_path / "extends", redis_url, 'INSTALLED_APPS.insert(0, "store")', files=files)
    assert "no issues" in project.manage("check")
    for words in (("publish",), ("flotilla", "publish")):
        assert project.manage(*words, "chat:a", "1").startswith("first the store's own\nPublished into chat:a")


def test_flotilla_lists_runs_and_explains_its_commands(tmp_path: Path, redis_url: str) -> None:
    project = TinyProject(tmp_path / "lists", redis_url)
    for words in (("flotilla",), ("flotilla", "help"), ("flotilla", "--help"), ("help", "flotilla")):
        said = project.manage(*words)
        for name in ("block", "connections", "loadtest", "publish", "ratelimit", "serve", "tail"):
            assert f"\n  {name} " in said, (words, name)
    assert "usage: manage.py flotilla publish" in project.manage("flotilla", "help", "publish")
    assert "usage: manage.py flotilla tail" in project.manage("flotilla", "tail", "--help")
    assert "Did you mean publish?" in project.manage("flotilla", "publis", status=2)
    assert "unrecognized arguments: --nonsense" in project.manage("flotilla", "connections", "--nonsense", status=2)
    said = project.manage("flotilla", "publish", "nowhere:a", "1", status=1)
    assert said == "CommandError: Cannot publish into 'nowhere:a': unknown channel.\n"
    code = """
        from io import StringIO
        from django.core.management import call_command
        out = StringIO()
        call_command("flotilla", "publish", "chat:a", "1", "--idempotency-key", "k", stdout=out)
        print(json.dumps(out.getvalue()))
    """
    assert project.told(code).startswith("Published into chat:a")


@pytest.mark.parametrize(
    ("patterns", "prefix", "found", "named"),
    [
        ("ours", "", [], []),
        ('path("store/", view), path("apiary", view), ours', "", [], []),
        ('path("api/items/", view), ours', "", ["I021"], ["/api/ has paths of Flotilla and of others: /api/items/"]),
        ('path("api/<str:item>", view), ours', "", ["I021", "W022"], ["/api/<str:method> of Flotilla is not reached"]),
        ('ours, path("api/items", view)', "", ["I021", "W023"], ["/api/items (urls.view) is not reached"]),
        ('path("api/<str:item>", view), ours', "flotilla/", [], []),
        ('re_path(r"^health/(\\w+)$", view), ours', "", ["W021"], ["/health/live is answered by Flotilla before"]),
        ('path("health/", view), ours', "", ["I020"], ["the paths beside it by /health/ (urls.view)"]),
        ('path("health/", Items.as_view()), ours', "", ["I020"], ["by /health/ (urls.Items)"]),
        ('path("emulation", view), ours', "", ["W021"], ["/emulation is answered by Flotilla before"]),
        ('path("discount/100%/", view), ours', "", [], []),
        ('ours, re_path(r"", view)', "", [], []),
    ],
)
def test_paths_are_named(
    tmp_path: Path, redis_url: str, patterns: str, prefix: str, found: list[str], named: list[str]
) -> None:
    project = TinyProject(tmp_path / "paths", redis_url, urls=URLS.format(patterns=patterns, prefix=prefix))
    said = project.manage("check")
    assert [kind for kind in ("I020", "I021", "W021", "W022", "W023") if f"flotilla_realtime.{kind}" in said] == found
    for text in named:
        assert text in said
