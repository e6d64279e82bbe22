"""The tests' settings with the Django code of docs/CLIENTS.md in them, as it stands there."""

from tests.cluster.support.clusterapp.settings import *  # noqa: F403

ROOT_URLCONF = "tests.cluster.support.clusterapp.document_urls"
