"""The views and the RPC method of docs/CLIENTS.md, as they stand there, beside the project's routes."""

from typing import Any

from django.urls import include, path

from tests.cluster.support.documents import snippet

found: dict[str, Any] = {"__name__": __name__}
for code in (snippet("CLIENTS.md", "python", "make_connection_token"), snippet("CLIENTS.md", "python", "@rpc.method")):
    exec(code, found)

urlpatterns = [*found["urlpatterns"], path("", include("project.urls"))]
