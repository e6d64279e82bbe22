"""A project whose users have a UUID for a key and an e-mail address to log in with, and no page in the admin."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.tiny_projects.tiny import TinyProject

SETTINGS = """
INSTALLED_APPS += ["people"]
AUTH_USER_MODEL = "people.Person"
"""
MODELS = """
import uuid
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models

class People(BaseUserManager):
    def create_user(self, email, password=None, **more):
        person = self.model(email=email, **more)
        person.set_password(password)
        person.save()
        return person

    def create_superuser(self, email, password=None, **more):
        return self.create_user(email, password, is_staff=True, **more)

class Person(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField("e-mail address", unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    objects = People()
    USERNAME_FIELD = "email"

    def has_perm(self, permission, obj=None):
        return self.is_staff

    def has_module_perms(self, app):
        return self.is_staff
"""
MIGRATION = """
import uuid
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("Person", [
        ("password", models.CharField(max_length=128, verbose_name="password")),
        ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
        ("id", models.UUIDField(primary_key=True, default=uuid.uuid4, serialize=False)),
        ("email", models.EmailField("e-mail address", max_length=254, unique=True)),
        ("is_staff", models.BooleanField(default=False)),
        ("is_active", models.BooleanField(default=True)),
    ])]
"""
PEOPLE = {
    "people/__init__.py": "",
    "people/models.py": MODELS,
    "people/migrations/__init__.py": "",
    "people/migrations/0001_initial.py": MIGRATION,
}


@pytest.fixture
def project(tmp_path: Path, redis_url: str) -> TinyProject:
    made = TinyProject(tmp_path / "own_users", redis_url, SETTINGS, files=PEOPLE)
    made.manage("migrate", "-v0")
    return made


def person(project: TinyProject, email: str) -> str:
    code = "from people.models import Person; print(json.dumps(str(Person.objects.create_user({!r}).pk)))"
    return str(project.told(code.format(email)))


def test_it_is_checked_and_its_users_are_known_by_address_or_key(project: TinyProject) -> None:
    assert "no issues" in project.manage("check")
    key = person(project, "ann@example.com")
    for typed in ("ann@example.com", " ann@EXAMPLE.com".lower(), key, key.upper(), key.replace("-", ""), f"pk:{key}"):
        said = project.manage("block", "--user", typed, "--seconds", "60")
        assert said.startswith(f"user: ann@example.com (id {key})\n"), typed
    said = project.manage("unblock", "--user", "ann", status=1)
    assert "There is no person 'ann': it is the e-mail address or the primary key of nobody" in said
    assert "no person" in project.manage("block", "--user", str(uuid4()), "--seconds", "60", status=1)
    assert "user: id 77\n" in project.manage("block", "--user", "id:77", "--seconds", "60")


def test_personal_limits_name_them_in_the_admin(project: TinyProject) -> None:
    """There is nothing to search them with; and no groups, because these users cannot be in any."""
    key = person(project, "ann@example.com")
    told = project.told(
        """
        from django.test import Client
        from people.models import Person
        from flotilla.ratelimit.models import PersonalLimit
        client, page = Client(), "/admin/flotilla_ratelimit/personallimit/"
        client.force_login(Person.objects.create_superuser("root@example.com"))
        def add(user):
            given = {"policy": "users", "user": user, "rate": "5/m"}
            return client.post(f"{page}add/", given, follow=True).content.decode()
        form, unknown, nobody = client.get(f"{page}add/").content.decode(), add("bob@example.com"), add("")
        added = add("ann@example.com")
        limit = PersonalLimit.objects.get()
        change, found = client.get(f"{page}{limit.pk}/change/"), client.get(f"{page}?q=ann@ex").content.decode()
        print(json.dumps([form, unknown, nobody, added, str(limit.user_id), change.content.decode(), found]))
        """
    )
    form, unknown, nobody, added, limited, change, found = told
    assert 'name="group"' not in form
    assert '<input type="text" name="user"' in form
    assert "There is no person &#x27;bob@example.com&#x27;" in unknown
    assert "Choose one: a user, a group or an API key." in nobody
    assert "was added successfully" in added
    assert limited == key
    assert 'name="user" value="ann@example.com"' in change
    assert "1 personal limit" in found


def test_the_pages_of_the_cluster_name_them(project: TinyProject) -> None:
    key = person(project, "ann@example.com")
    told = project.told(
        """
        from django.contrib.admin.models import LogEntry
        from django.test import Client
        from people.models import Person
        client, site = Client(), "/admin/flotilla_realtime/"
        client.force_login(Person.objects.create_superuser("root@example.com"))
        wanted = {"action": "block", "kind": "user", "duration": "600", "confirmed": "yes"}
        def block(whom):
            return client.post(f"{site}block/", wanted | {"whom": whom}, follow=True).content.decode()
        unknown, blocked = block("bob@example.com"), block("ann@example.com")
        found = client.get(f"{site}block/?q=ann@example.com").content.decode()
        statuses = [client.get(f"{site}{page}/?q=a").status_code for page in ("instance", "channel", "connecteduser")]
        statuses += [client.get("/admin/flotilla_monitoring/cluster/").status_code, client.get("/admin/").status_code]
        print(json.dumps([unknown, blocked, found, statuses, str(LogEntry.objects.get().object_repr)]))
        """
    )
    unknown, blocked, found, statuses, logged = told
    assert "There is no person &#x27;bob@example.com&#x27;" in unknown
    assert f"User ann@example.com (id {key}): 1 blocked" in blocked
    assert f'ann@example.com <span class="quiet">{key}</span>' in found
    assert statuses == [200] * 5
    assert logged == "blocked ann@example.com for 10 minutes (0 connections)"


def test_a_group_that_goes_concerns_nobody(project: TinyProject) -> None:
    told = project.told(
        """
        from django.contrib.auth.models import Group, Permission
        from flotilla.ratelimit import personal
        from flotilla.ratelimit.models import PersonalLimit
        group = Group.objects.create(name="slow")
        group.permissions.set(Permission.objects.all()[:1])
        PersonalLimit.objects.create(policy="users", group=group, rate="1/m")
        table = len(personal.load())
        group.permissions.clear()
        group.delete()
        print(json.dumps([table, Group.objects.count()]))
        """
    )
    assert told == [0, 0]
