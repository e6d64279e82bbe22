"""What the bazaar's team writes about the page that follows orders: without a Redis and without a server."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from flotilla.testing import FlotillaTestCase, Recorder
from rest_framework.test import APIClient

from accounts.models import User
from store.models import Order, Product
from store.services import change_status


def new_order() -> Order:
    owner = User.objects.create_user("ann@bazaar.example", "a password")
    return Order.objects.create(owner=owner, product=Product.objects.create(name="lamp"))


class PaymentTests(FlotillaTestCase):
    def test_a_payment_is_announced_to_the_owner(self) -> None:
        order = new_order()
        client = APIClient()
        client.force_authenticate(order.owner)
        client.post(f"/api/orders/{order.pk}/pay/")
        told = {"order": order.pk, "status": "paid", "by": "a view"}
        self.assert_published(f"orders:#{order.owner_id}", told, count=1)

    def test_what_is_refused_is_not_announced(self) -> None:
        order = new_order()
        APIClient().post(f"/api/orders/{order.pk}/pay/")
        self.assert_nothing_published()


@pytest.mark.django_db(transaction=True)
async def test_the_owner_s_page_hears_of_it(flotilla_client: Any) -> None:
    order = await sync_to_async(new_order)()
    channel = f"orders:#{order.owner_id}"
    async with flotilla_client(order.owner) as page:
        await page.subscribe(channel)
        await sync_to_async(change_status)(order.pk, "shipped", "a test")
        assert (await page.next_publication(channel))["status"] == "shipped"


@pytest.mark.django_db
def test_a_fixture_sees_it_as_well(flotilla_published: Recorder) -> None:
    order = new_order()
    change_status(order.pk, "shipped", "a test")
    (told,) = flotilla_published.to(f"orders:#{order.owner_id}")
    assert told.data["status"] == "shipped"
