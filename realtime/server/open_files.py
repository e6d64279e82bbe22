"""How many files a process may open. Each connection is one, so bounds on connections must lie below that number."""

import logging
import resource

logger = logging.getLogger("flotilla.realtime.server")

PART = 3  # of the files, for each of the kinds of connections that a stranger can have many of


def affordable(count: int) -> int:
    """`count`, or a third of the files that the process may open, where that is less."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return count if files == resource.RLIM_INFINITY else max(1, min(count, files // PART))


def open_as_many_as_allowed() -> None:
    """Raise the process's own limit to what the system lets it have."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError) as error:  # macOS says that there is no limit, and does not mean it
        logger.info("the process may open %d files, and no more: %s", files, error)
