"""User models whose `groups` are not Django's: the project starts, and its users are watched all the same."""

from pathlib import Path

import pytest

from tests.tiny_projects.tiny import TinyProject

MODELS = """
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models

class People(BaseUserManager):
    def create_user(self, name, **more):
        return self.create(name=name, **more)

class Person(AbstractBaseUser):
    name = models.CharField(max_length=50, unique=True)
    is_active = models.BooleanField(default=True)
    objects = People()
    USERNAME_FIELD = "name"
    {groups}

class Team(models.Model):
    members = models.ManyToManyField(Person{related})
"""
KINDS = {
    "a field of its own": ("groups = models.JSONField(default=list)", ""),
    "a property": ("groups = property(lambda self: [])", ""),
    "another model's relation": ("", ', related_name="groups"'),
}


@pytest.mark.parametrize(("groups", "related"), KINDS.values(), ids=KINDS)
def test_groups_of_another_kind_are_left_alone(tmp_path: Path, redis_url: str, groups: str, related: str) -> None:
    files = {"people/__init__.py": "", "people/models.py": MODELS.format(groups=groups, related=related)}
    own = 'INSTALLED_APPS = [name for name in INSTALLED_APPS if name != "django.contrib.admin"] + ["people"]\n'
    settings = f'{own}AUTH_USER_MODEL = "people.Person"\nSILENCED_SYSTEM_CHECKS = []\n'
    urls = 'from django.urls import include, path\nurlpatterns = [path("", include("flotilla.realtime.api.urls"))]\n'
    project = TinyProject(tmp_path / "strange", redis_url, settings, urls=urls, files=files)
    assert "no issues" in project.manage("check")
    project.manage("migrate", "-v0", "--run-syncdb")
    code = """
        from django.contrib.auth.models import Group
        from people.models import Person
        Person.objects.create_user("ann").save()
        Group.objects.create(name="staff").delete()
        print(json.dumps(Person.objects.count()))
    """
    assert project.told(code) == 1
