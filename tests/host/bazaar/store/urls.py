from django.urls import path

from store import views

urlpatterns = [
    path("", views.orders),
    path("<int:order_id>/cancel/", views.cancel),
]
