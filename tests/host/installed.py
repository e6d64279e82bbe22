"""The wheel in a foreign project's environment: what comes with it, and that the project is as well as it was.

Run by `make test-host`; the bazaar is described in `conftest.py`.
"""

import re
import zipfile
from pathlib import Path

from tests.host.conftest import NO_REDIS, Before, distributions, top_level
from tests.host.support.installation import HOST, Project

OWN_TESTS_WITHIN = 5.0  # seconds
PRODUCTION = {
    "BAZAAR_SECRET_KEY": "fifty characters that nobody guesses, as Django wants it: 0Zk3vQ",
    "BAZAAR_REDIS": NO_REDIS,
}
STRICT = ("--fail-level", "WARNING")
PYTEST = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_the_project_works_before(before: Before) -> None:
    assert before.tests.code == 0, before.tests.output
    assert "flotilla" not in " ".join(before.distributions).lower()


def test_the_wheel_has_one_name_and_everything_the_platform_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"flotilla"}
    for kind in ("flotilla/py.typed", ".lua", ".html", "vendor/centrifuge.js", "alerts.yml", "/grafana/"):
        assert any(name.endswith(kind) or kind in name for name in names), kind


def test_the_environment_fits_together_and_only_one_name_of_ours_is_new(before: Before, project: Project) -> None:
    assert "No broken requirements found" in project.must("python", "-m", "pip", "check")
    new = distributions(project.python) - before.distributions
    assert "django_flotilla" in new
    record = project.must("python", "-m", "pip", "show", "--files", "django-flotilla")
    tops = {line.strip().partition("/")[0] for line in record.partition("Files:")[2].splitlines() if line.strip()}
    assert {top for top in tops if not top.endswith(".dist-info")} <= {"flotilla", ".."}  # `..`: programs in bin/
    assert not {"project", "tests", "examples", "store", "monitoring", "realtime"} & top_level(project.python)


def test_what_is_imported_is_what_the_wheel_brought(project: Project) -> None:
    where = project.must(
        "python", "-c", "import flotilla, flotilla.store, store; print(flotilla.store.__file__, store.__file__)"
    )
    ours, theirs = map(Path, where.split())
    assert ours.is_relative_to(project.python.parent.parent)
    assert theirs.is_relative_to(project.home)


def test_the_checks_say_nothing(project: Project) -> None:
    """But that `/api/` and `/health/` have paths of both: nothing of either is hidden, which `served.py` tries."""
    production = project.under("bazaar.settings.production", **PRODUCTION)
    for said in (project.manage("check", *STRICT), production.manage("check", "--deploy", *STRICT)):
        ids = re.findall(r"\((\w+\.\w+)\)", said)
        assert set(ids) <= {"flotilla_realtime.I020", "flotilla_realtime.I021"}, said


def test_the_check_names_what_is_missing_with_its_mend(project: Project) -> None:
    done = project.under("bazaar.settings.misspelt").run("python", "manage.py", "check")
    assert done.code == 1
    assert "tokn_secret" in done.output and "token_secret" in done.output, done.output
    assert "AttributeError" not in done.output and "Traceback" not in done.output, done.output


def test_no_model_of_the_project_changes(project: Project) -> None:
    assert "No changes detected" in project.manage("makemigrations", "--check", "--dry-run")


def test_static_files_come_along(project: Project) -> None:
    found = project.manage("findstatic", "realtime/vendor/centrifuge.js", "realtime/admin/live.js", "--first")
    assert found.count(str(project.python.parent.parent)) == 2, found


def test_the_project_s_own_tests_pass_without_redis(before: Before, project: Project) -> None:
    """Those it had before, and new ones with `flotilla.testing`; nobody listens where its Redis would be."""
    done = project.under("bazaar.settings.test_live", BAZAAR_REDIS=NO_REDIS).run(*PYTEST, "tests")
    assert done.code == 0, done.output
    (had, _), (now, took) = (_counted(tests.output) for tests in (before.tests, done))
    assert now > had
    share = min(1.0, before.tests.cpu / before.tests.seconds)  # of the machine that these tests have beside others
    assert took * share < OWN_TESTS_WITHIN, f"{took} s, with a share of {share:.2f} of the machine"


def test_mypy_is_strict_with_the_project_and_sees_our_types(project: Project) -> None:
    done = project.run("python", "-m", "mypy", "--strict", "--cache-dir", str(project.home.parent / "mypy"), ".")
    assert done.code == 0, done.output
    (wrong,) = (HOST / "wrong").glob("*.py")
    (project.home / "store" / wrong.name).write_text(wrong.read_text())
    try:
        words = ("--strict", "--cache-dir", str(project.home.parent / "mypy"), f"store/{wrong.name}")
        done = project.run("python", "-m", "mypy", *words)
    finally:
        (project.home / "store" / wrong.name).unlink()
    expected = [number for number, line in enumerate(wrong.read_text().splitlines(), 1) if "# wrong" in line]
    found = sorted({int(number) for number in re.findall(rf"{wrong.stem}\.py:(\d+): error", done.output)})
    assert found == expected, done.output
    assert "Published | None" in done.output


def _counted(output: str) -> tuple[int, float]:
    """How many tests passed, and in how many seconds."""
    (passed, took) = re.findall(r"(\d+) passed in ([\d.]+)s", output)[-1]
    return int(passed), float(took)
