"""What people type, and whom it stands for."""

import pytest
from django.contrib.auth.models import Group, User

from flotilla.natural_names import NamedUser, UnknownName, natural_name, object_named, user_named

pytestmark = pytest.mark.django_db


def test_a_name_that_looks_like_a_form_is_written_so_that_it_is_found() -> None:
    for name in ("ann", "pk:7", "id:x", "name:name:x", "a:b"):
        user = User.objects.create(username=name)
        assert object_named(User, natural_name(user)) == user
        assert user_named(natural_name(user)) == NamedUser(str(user.pk), name)


def test_groups_have_names_and_keys_too() -> None:
    group = Group.objects.create(name="slow lane")
    for typed in ("slow lane", str(group.pk), f"pk:{group.pk}", "name:slow lane"):
        assert object_named(Group, typed) == group
    with pytest.raises(UnknownName, match=r"there is no group 'fast lane': it is the name or the primary key"):
        object_named(Group, "fast lane")
    numbered = Group.objects.create(name=str(group.pk))
    with pytest.raises(UnknownName, match=rf"\(pk:{numbered.pk}\) and the primary key of another \(name:slow lane\)"):
        object_named(Group, str(group.pk))


def test_ids_are_whosever_they_are() -> None:
    assert user_named("id:nobody") == NamedUser("nobody")
    assert user_named("id:id:x") == NamedUser("id:x")
    assert [str(user_named(typed)) for typed in ("id:x", "id:")] == ["id x", "visitors"]


@pytest.mark.parametrize("typed", ["", " ", "name:", "pk:", "a\0b", "9" * 400, "-1", "1.0", "٣", "ann", "'; --"])
def test_nobody_is_refused(typed: str) -> None:
    with pytest.raises(UnknownName) as refused:
        user_named(typed)
    assert len(str(refused.value)) < 500
