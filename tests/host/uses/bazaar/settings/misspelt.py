from bazaar.settings.dev import *  # noqa: F403

FLOTILLA = {"tokn_secret": SECRET_KEY}  # noqa: F405
