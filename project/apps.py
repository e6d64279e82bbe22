"""The project as a Django app, so that its system checks are found."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """Registers the checks of the environment."""

    name = "project"
    verbose_name = "Project"

    def ready(self) -> None:
        """Import what registers itself."""
        from project import checks  # noqa: F401
