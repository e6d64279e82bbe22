"""No module imports itself, by however many others; an import for a type checker alone counts as well."""

import grimp


def test_nothing_is_imported_in_a_circle() -> None:
    graph = grimp.build_graph("flotilla", "project", "examples", cache_dir=None)
    left = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    while ends := [module for module, imported in left.items() if not imported & left.keys()]:
        for module in ends:
            del left[module]
    assert left == {}, f"in circles, or above one: {sorted(left)}"
