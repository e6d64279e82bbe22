"""The settings of the cluster tests, with one more app."""

from tests.cluster.support.clusterapp.settings import *  # noqa: F403
from tests.cluster.support.clusterapp.settings import INSTALLED_APPS as CLUSTER_APPS

INSTALLED_APPS = [*CLUSTER_APPS, "tests.cluster.support.liveapp"]
