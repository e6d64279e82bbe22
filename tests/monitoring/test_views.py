"""The health pages among a project's own URLs (`flotilla.urls`), where requests come to Django first."""

from django.test import AsyncClient, Client


async def test_an_instance_says_that_it_lives() -> None:
    answer = await AsyncClient().get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"instance": "test", "live": True})
    assert answer["Cache-Control"] == "no-store"
    assert (await AsyncClient().post("/health/live")).status_code == 405


def test_a_process_under_wsgi_takes_no_clients_and_says_so() -> None:
    """It starts nothing for whoever asks."""
    assert Client().get("/health/live").status_code == 200
    answer = Client().get("/health/ready")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert "serves WSGI" in answer.json()["problem"]
