"""What the platform answers over HTTP: `path("", include("flotilla.urls"))` in a project's URLs."""

from django.urls import include, path

urlpatterns = [path("", include("flotilla.realtime.api.urls"))]
