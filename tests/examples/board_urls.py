"""The project's routes with the board's, as under `make run`."""

from django.urls import include, path

urlpatterns = [path("board/", include("examples.board.urls")), path("", include("tests.examples.rooms_urls"))]
