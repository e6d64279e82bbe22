"""Which documents the site has, in which order, and under which names. Imports nothing of ours.

A document stays where people find it in the repository; the site has it under a name of its own. Every document of
`docs/` is either here or the build ends with an error.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = "README.md"
DECISIONS = "docs/decisions"

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Begin",
        (
            "docs/QUICKSTART.md",
            "docs/ADD_TO_YOUR_PROJECT.md",
            "docs/FROM_CHANNELS.md",
            "docs/FROM_CENTRIFUGO.md",
            "examples/rooms/README.md",
        ),
    ),
    (
        "Build with it",
        (
            "docs/PUBLISHING.md",
            "docs/LIVE.md",
            "docs/AUTHENTICATION.md",
            "docs/CLIENTS.md",
            "docs/CONTROL.md",
            "docs/WEBHOOKS.md",
            "docs/RATE_LIMITS.md",
            "docs/TESTING.md",
        ),
    ),
    (
        "Run it",
        (
            "docs/COMMANDS.md",
            "docs/SERVERS.md",
            "docs/SCALE_OUT.md",
            "docs/HOT_ROOMS.md",
            "docs/MANY_ROOMS.md",
            "docs/OPERATIONS.md",
            "docs/SECURITY.md",
            "docs/LOAD_TESTING.md",
        ),
    ),
    (
        "Reference",
        (
            "docs/SETTINGS.md",
            "docs/FUNCTIONS.md",
            "docs/METRICS.md",
            "docs/GUARANTEES.md",
            "docs/BENCHMARKS.md",
        ),
    ),
    ("How it is built", ("docs/ARCHITECTURE.md", DECISIONS, "CONTRIBUTING.md", "CHANGELOG.md")),
)
NAMES = {HOME: "index", DECISIONS: "decisions/index", "examples/rooms/README.md": "rooms"}
SHORT_TITLES = {
    "examples/rooms/README.md": "An example: rooms",
    "docs/FROM_CHANNELS.md": "For users of Channels",
    "docs/FROM_CENTRIFUGO.md": "For users of Centrifugo",
    "docs/CONTROL.md": "Control and the HTTP API",
}


def listed() -> tuple[str, ...]:
    """Everything that is in the navigation, by its path in the repository."""
    return (HOME, *(source for _, sources in SECTIONS for source in sources))


def decisions(root: Path = ROOT) -> tuple[str, ...]:
    """The decision records, in the order of their numbers."""
    return tuple(sorted(f"{DECISIONS}/{path.name}" for path in (root / DECISIONS).glob("*.md")))


def name_of(source: str) -> str:
    """The page of a document, without its ending: `docs/SCALE_OUT.md` is `scale-out`."""
    if source in NAMES:
        return NAMES[source]
    return source.removeprefix("docs/").removesuffix(".md").lower().replace("_", "-")
