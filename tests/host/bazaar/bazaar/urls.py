from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("login/", LoginView.as_view(template_name="login.html")),
    path("api/", include("store.api_urls")),
    path("orders/", include("store.urls")),
    path("health/", include("monitoring.urls")),
]
