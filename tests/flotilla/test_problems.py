"""Problems: how they read."""

from flotilla.problems import Problem


def test_a_problem_says_what_is_wrong_where_and_what_to_do() -> None:
    """The source and the hint are said where there are any."""
    problem = Problem("rate_limits.api.rate", "it is required", "Write one.", "settings.REALTIME")
    assert problem.fault == "rate_limits.api.rate: it is required (in settings.REALTIME)."
    assert str(problem) == f"{problem.fault} Write one."
    assert str(Problem("PORT", "'x' is no number")) == "PORT: 'x' is no number."
