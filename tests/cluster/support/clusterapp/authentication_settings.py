"""The tests' settings with the configuration of docs/AUTHENTICATION.md in them, as it stands there."""

import sys
from types import ModuleType
from typing import Any

from tests.cluster.support.clusterapp.settings import *  # noqa: F403
from tests.cluster.support.clusterapp.settings import INSTALLED_APPS as CLUSTER_APPS
from tests.cluster.support.documents import snippet

INSTALLED_APPS = [*CLUSTER_APPS, "rest_framework", "rest_framework.authtoken"]
ROOT_URLCONF = "tests.cluster.support.clusterapp.authentication_urls"


def may_have_token(user: Any, channel: str, info: Any) -> bool:
    """The rule of the page's project: the plan with the number of the user."""
    return bool(channel == f"$plan:{user.pk}")


rules = ModuleType("app.rules")
rules.may_have_token = may_have_token  # type: ignore[attr-defined]
sys.modules["app"], sys.modules["app.rules"] = ModuleType("app"), rules

found: dict[str, Any] = {}
exec(snippet("AUTHENTICATION.md", "python", "may_have_token"), found)
FLOTILLA = found["FLOTILLA"]
exec(snippet("AUTHENTICATION.md", "python", "rest_framework.authentication"), found)
FLOTILLA = FLOTILLA | found["FLOTILLA"]
