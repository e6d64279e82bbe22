"""The routes of docs/AUTHENTICATION.md, as they stand there."""

from typing import Any

from tests.cluster.support.documents import snippet

found: dict[str, Any] = {}
exec(snippet("AUTHENTICATION.md", "python", 'include("flotilla.urls")'), found)
urlpatterns = found["urlpatterns"]
