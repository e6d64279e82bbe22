"""As in production, with more of what Flotilla can be told: for the running bazaar of the tests."""

import os

from bazaar.settings.production import *  # noqa: F403

INSTALLED_APPS += ["live"]  # noqa: F405
ROOT_URLCONF = "live.urls"
FLOTILLA = FLOTILLA | {  # type: ignore[assignment]  # noqa: F405
    "api_keys": [os.environ["BAZAAR_API_KEY"]],
    "token_jwks_url": os.environ["BAZAAR_JWKS"],
    "metrics_port": int(os.environ["BAZAAR_METRICS_PORT"]),
}
