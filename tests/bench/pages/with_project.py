"""The project's URLs and the bench's page."""

from project.urls import *  # noqa: F403
from project.urls import urlpatterns as of_project
from tests.bench.pages.urls import urlpatterns as of_bench

urlpatterns = [*of_project, *of_bench]
