"""The one name of each package: `flotilla.realtime`, never `realtime`.

A module that is imported under two names is loaded twice, and each copy has a state of its own: two nodes, two sets of
metrics. So each of the packages that a checkout has at its top says at once what it is called. This also leaves the
bare names, which are common ones, to the project that uses the platform.
"""


def refuse_other_name(imported: str, name: str) -> None:
    """Raises ImportError when a package is imported by another name than its own."""
    if imported != name:
        raise ImportError(f"import {name}, not {imported}: Flotilla's packages are parts of the package flotilla")
