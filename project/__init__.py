"""The Django project: settings from the environment, their checks, the URLs and the ASGI stack."""
