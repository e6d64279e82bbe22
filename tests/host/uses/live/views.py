from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from flotilla import apublish


@require_POST
async def greet(request: HttpRequest) -> JsonResponse:
    """Publishes from a coroutine, and answers with where it stands in the channel's history."""
    user = await request.auser()
    position = await apublish(f"orders:#{user.pk}", {"greeting": "from an async view"})
    assert position is not None
    return JsonResponse({"offset": position.offset})
