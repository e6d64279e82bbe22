"""A page and two forms, as without anything live: HTMX asks for the page as well, and takes the part that it wants."""

from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.forms import modelform_factory
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from .models import Notice, mark_read

SHOWN = 20  # notices
NoticeForm = modelform_factory(Notice, fields=["recipient", "text"])
for_users = login_required(login_url="notices:login")


@require_safe
@for_users
def page(request: HttpRequest) -> HttpResponse:
    """The notices of whoever asks, how many are unread, and a form to write one to somebody else."""
    mine = Notice.objects.filter(recipient=request.user.pk)
    others = get_user_model()._default_manager.exclude(username=request.user.get_username())
    unread = mine.filter(is_read=False).count()
    return render(request, "notices/page.html", {"notices": mine[:SHOWN], "unread": unread, "others": others})


@require_POST
@for_users
def read(request: HttpRequest) -> HttpResponse:
    """The notice that the form names is read, or all."""
    notice = request.POST.get("notice", "")
    if notice and not notice.isdecimal():
        return HttpResponse("no such notice", status=400)
    mark_read(request.user.pk, notice)
    return redirect("notices:page")


@require_POST
@for_users
def write(request: HttpRequest) -> HttpResponse:
    """A notice for somebody."""
    form = NoticeForm(request.POST)
    if not form.is_valid():
        return HttpResponse(form.errors.as_ul(), status=400)
    form.save()
    return redirect("notices:page")
