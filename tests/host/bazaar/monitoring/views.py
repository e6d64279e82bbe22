from django.http import HttpRequest, JsonResponse

from monitoring.models import Probe


def health(request: HttpRequest) -> JsonResponse:
    Probe.objects.update_or_create(name="health")
    return JsonResponse({"bazaar": "open", "probes": Probe.objects.count()})
