"""The project's settings, with the bench's page among its URLs."""

from project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.bench.pages.with_project"
