"""Django's errors in a project that has chosen our handlers, and in one that has not."""

import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path, set_script_prefix
from django.views.decorators.csrf import csrf_protect

from flotilla import error_handlers

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
SECRET = "hunter2 of the database"


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied(SECRET)


def failing(request: HttpRequest) -> HttpResponse:
    raise RuntimeError(SECRET)


def posted(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(request.POST)))


URLS = [path("forbidden/", forbidden), path("failing/", failing), path("posted/", posted)]
URLS.append(path("protected/", csrf_protect(posted)))


def urlconf(**handlers: Any) -> ModuleType:
    """A project's URLs."""
    made = ModuleType("urls_of_the_test")
    made.urlpatterns = URLS  # type: ignore[attr-defined]
    vars(made).update(handlers)
    return made


@pytest.fixture
def client() -> Iterator[Client]:
    logging.disable(logging.CRITICAL)
    yield Client(raise_request_exception=False, enforce_csrf_checks=True)
    logging.disable(logging.NOTSET)
    set_script_prefix("/")


@pytest.fixture
def chosen(settings: Any) -> None:
    names = ("handler400", "handler403", "handler404", "handler500")
    settings.MIDDLEWARE, settings.DATA_UPLOAD_MAX_MEMORY_SIZE = [], 100
    settings.ROOT_URLCONF = urlconf(**{name: getattr(error_handlers, name) for name in names})
    settings.CSRF_FAILURE_VIEW = "flotilla.error_handlers.csrf_failure"


def ask(client: Client, what: str, accept: str) -> Any:
    """One of the requests below, by a browser or a program."""
    return {
        "unknown host": lambda: client.get("/failing/", headers={"accept": accept, "host": "else.where"}),
        "forbidden": lambda: client.get("/forbidden/", headers={"accept": accept}),
        "no page": lambda: client.get("/nothing/", headers={"accept": accept}),
        "fault": lambda: client.get("/failing/", headers={"accept": accept}),
        "forged form": lambda: client.post("/protected/", {"a": 1}, headers={"accept": accept}),
        "large form": lambda: client.post(
            "/posted/", "a=" + "b" * 200, "application/x-www-form-urlencoded", headers={"accept": accept}
        ),
    }[what]()


EXPECTED = [
    ("forbidden", 403, "You may not do this"),
    ("no page", 404, "There is no such page"),
    ("fault", 500, "Something went wrong"),
    ("forged form", 403, "reload the page and send it again"),
    ("large form", 413, "This is too large"),
]


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize(("what", "status", "words"), EXPECTED)
def test_browsers_get_our_page_and_no_secret(client: Client, what: str, status: int, words: str) -> None:
    response = ask(client, what, BROWSER)
    assert (response.status_code, response["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert words in response.content.decode()
    assert SECRET not in response.content.decode() and "RuntimeError" not in response.content.decode()
    assert ('href="/"' in response.content.decode()) == (what in ("forbidden", "no page"))


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize(("what", "status", "words"), EXPECTED)
@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_programs_get_a_problem(client: Client, what: str, status: int, words: str, accept: str) -> None:
    response = ask(client, what, accept)
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    assert response.json()["status"] == status
    assert SECRET not in response.content.decode()


@pytest.mark.usefixtures("chosen")
def test_a_host_that_is_not_allowed_is_400(client: Client, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
    response = ask(client, "unknown host", BROWSER)
    assert response.status_code == 400
    assert "This request cannot be answered" in response.content.decode() and b"else.where" not in response.content


@pytest.mark.usefixtures("chosen")
def test_the_start_page_is_below_the_root_path(client: Client) -> None:
    set_script_prefix("/realtime/")
    response = client.get("/nothing/", headers={"accept": BROWSER})
    assert 'href="/realtime/"' in response.content.decode()


def test_a_project_that_has_not_chosen_them_keeps_its_own(client: Client, settings: Any) -> None:
    def own(request: HttpRequest, exception: Exception) -> HttpResponse:
        return HttpResponse("its own", status=404)

    settings.MIDDLEWARE, settings.ROOT_URLCONF = [], urlconf(handler404=own)
    assert ask(client, "no page", BROWSER).content == b"its own"
    assert b"Flotilla" not in ask(client, "fault", BROWSER).content
    assert b"<h1>Server Error (500)</h1>" in ask(client, "fault", BROWSER).content


def test_this_project_has_chosen_them(client: Client) -> None:
    response = client.get("/nothing-at-all/", headers={"accept": BROWSER})
    assert (response.status_code, "There is no such page" in response.content.decode()) == (404, True)
    response = client.post("/admin/login/", {"username": "a"}, headers={"accept": BROWSER})
    assert (response.status_code, "reload the page" in response.content.decode()) == (403, True)
