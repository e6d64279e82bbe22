"""The project's routes with the example's, as under `make run`."""

from django.urls import include, path

urlpatterns = [path("notices/", include("examples.notices.urls")), path("", include("project.urls"))]
