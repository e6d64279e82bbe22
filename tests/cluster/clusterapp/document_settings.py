"""The tests' settings with the Django code of docs/CLIENTS.md in them, as it stands there."""

from clusterapp.settings import *  # noqa: F403

ROOT_URLCONF = "clusterapp.document_urls"
