import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from store.models import Order, Product

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann@bazaar.example", "a password")


@pytest.fixture
def order(ann: User) -> Order:
    return Order.objects.create(owner=ann, product=Product.objects.create(name="lamp"))


def with_token(**login: str) -> APIClient:
    client = APIClient()
    answer = client.post("/api/token/", login)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {answer.json()['access']}")
    return client


def test_an_order_is_paid_for_with_a_token(ann: User, order: Order) -> None:
    client = with_token(email=ann.email, password="a password")
    assert client.post(f"/api/orders/{order.pk}/pay/").json() == {"status": "paid"}
    order.refresh_from_db()
    assert order.changed_by == "a view"


def test_an_order_is_shipped_by_a_task(ann: User, order: Order) -> None:
    client = APIClient()
    client.force_authenticate(ann)
    assert client.post(f"/api/orders/{order.pk}/ship/").status_code == 202
    order.refresh_from_db()
    assert order.status == "shipped"


def test_nobody_sees_orders_without_a_login(order: Order) -> None:
    assert APIClient().get("/api/orders/").status_code == 401
    assert Client().get("/orders/").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_an_order_is_cancelled(ann: User, order: Order) -> None:
    client = Client()
    client.force_login(ann)
    assert client.post(f"/orders/{order.pk}/cancel/").json() == {"status": "cancelled"}
