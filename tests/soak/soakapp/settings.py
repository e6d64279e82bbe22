"""The settings of the cluster tests, with two more apps and an ASGI application that has a probe."""

from tests.cluster.support.clusterapp.settings import *  # noqa: F403
from tests.cluster.support.clusterapp.settings import INSTALLED_APPS as CLUSTER_APPS

INSTALLED_APPS = [*CLUSTER_APPS, "tests.cluster.support.cardapp", "tests.soak.soakapp"]
ASGI_APPLICATION = "tests.soak.soakapp.asgi.application"
