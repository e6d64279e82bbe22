from django.contrib.auth import get_user_model
from django.test import TestCase


class SiteTests(TestCase):
    def test_health_is_the_bazaar_s_own(self) -> None:
        self.assertEqual(self.client.get("/health/").json(), {"bazaar": "open", "probes": 1})

    def test_people_log_in_with_their_e_mail_address(self) -> None:
        get_user_model().objects.create_user(email="bob@bazaar.example", password="a password")
        answer = self.client.post("/login/", {"username": "bob@bazaar.example", "password": "a password"})
        self.assertRedirects(answer, "/orders/")

    def test_the_admin_has_no_page_of_users(self) -> None:
        chief = get_user_model().objects.create_superuser("chief@bazaar.example", "a password")
        self.client.force_login(chief)
        page = self.client.get("/admin/").content.decode()
        self.assertIn("/admin/store/order/", page)
        self.assertNotIn("/admin/accounts/", page)
