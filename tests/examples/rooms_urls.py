"""The project's routes with the example's, as under `make run`."""

from django.urls import include, path

urlpatterns = [path("rooms/", include("examples.rooms.urls")), path("", include("project.urls"))]
