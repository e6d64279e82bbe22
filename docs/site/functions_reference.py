"""The reference of everything that a project imports, made from signatures and docstrings.

`MODULES` says what is public beside the names of `flotilla` itself. A name without a docstring ends the build. A
coroutine's twin (`apublish` of `publish`) stands with its synchronous sister. Needs Django.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

MODULES: dict[str, tuple[str, ...]] = {
    "flotilla.testing": (
        "FlotillaTestCase",
        "FlotillaTestMixin",
        "published",
        "assert_published",
        "assert_nothing_published",
        "RealtimeClient",
        "recording",
        "isolated",
        "use_process_engine",
        "Publication",
        "Push",
        "Refused",
        "Closed",
    ),
    "flotilla.realtime.rpc": ("method", "on_message"),
    "flotilla.realtime.api.inspection": ("instances", "channels", "users", "connections", "members", "blocks"),
    "flotilla.ratelimit.http.decorators": ("ratelimit",),
}
RESULTS = (
    "flotilla.realtime.api.python",
    "flotilla.realtime.node.control",
    "flotilla.realtime.engine.publication",
    "flotilla.realtime.api.inspection",
    "flotilla.presence.inspection",
)
_WIDTH = 100
_PREFIXES: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


class MissingDocstring(Exception):
    """Something public that nobody explained."""


def reference() -> str:
    """All public names as Markdown: a section for each module they are imported from."""
    sections = [_section("flotilla", of_flotilla())]
    for name, names in MODULES.items():
        module = import_module(name)
        sections.append(_section(name, {title: getattr(module, title) for title in names}))
    return "\n".join(sections)


def of_flotilla() -> dict[str, Any]:
    """What `from flotilla import …` gives, by name: also what is there before Django's apps are ready."""
    public, package = import_module("flotilla._public"), import_module("flotilla")
    things = {name: getattr(public, name) for name in public.__all__} | {"apps": package.apps}
    return dict(sorted(things.items(), key=lambda pair: pair[0].lower()))


def _section(name: str, things: Mapping[str, Any]) -> str:
    lines = [f"## From `{name}`", ""]
    for title, thing in things.items():
        if title.startswith("a") and title[1:] in things:
            continue  # beside its synchronous sister
        lines += [*entry(title, thing, f"a{title}" if f"a{title}" in things else ""), ""]
    for kind in _results(things.values()):
        lines += [*entry(kind.__name__, kind, ""), ""]
    return "\n".join(lines)


def entry(name: str, thing: Any, twin: str) -> Iterator[str]:
    """One name in lines: its signature, what it says of itself, and its twin. Raises MissingDocstring."""
    text = inspect.getdoc(thing)
    if not text:
        raise MissingDocstring(f"{name} has no docstring")
    yield f"### {name}"
    yield ""
    yield "```python"
    yield signature(name, thing)
    yield "```"
    yield ""
    yield _prose(text)
    if isinstance(thing, type):
        yield from _methods(thing)
    elif callable(thing) and not inspect.isroutine(thing):
        yield from _methods(type(thing))
    if twin:
        yield ""
        yield f"In coroutines: `await {twin}(…)`."


def _methods(kind: type) -> Iterator[str]:
    """The public methods and properties that a class defines itself, each with its first sentence."""
    public = {name: one for name, one in vars(kind).items() if not name.startswith("_")}
    functions = {name: getattr(one, "fget", one) for name, one in public.items()}
    said = {name: inspect.getdoc(one) for name, one in functions.items() if inspect.isfunction(one)}
    lines = [f"- `{_call(name, public[name])}`: {_first(text)}" for name, text in said.items() if text]
    if lines:
        yield ""
        yield from lines


def _call(name: str, thing: Any) -> str:
    if isinstance(thing, property):
        return name
    definition = _definition(thing)
    assert not isinstance(definition, ast.ClassDef)
    arguments = [one for one in _arguments(definition, inspect.signature(thing)) if one not in ("self", "cls")]
    waits = "await " if isinstance(definition, ast.AsyncFunctionDef) else ""
    return f"{waits}{name}({', '.join(arguments)})"


def _first(text: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(text.partition("\n\n")[0].split())


def signature(name: str, thing: Any) -> str:
    """How it is called, each argument on a line of its own where one line has no room; a class by its fields.

    Types are those of the source, which every Python writes alike; defaults are values. An object is shown by its
    class, a class with a constructor of its own by that.
    """
    if not callable(thing):
        return f"{name}: {type(thing).__name__}"
    definition = _definition(thing)
    if isinstance(definition, ast.ClassDef):
        made = next(
            (one for one in definition.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None
        )
        if made is not None:
            return _wrapped(f"class {name}", list(_arguments(made, inspect.signature(thing))), "")
        fields = (one for one in definition.body if isinstance(one, ast.AnnAssign))
        shown = (f"    {ast.unparse(one.target)}: {_type(one.annotation)}" for one in fields)
        return "\n".join([f"class {name}", *(line for line in shown if not line.lstrip().startswith("_"))])
    returned = f" -> {_type(definition.returns)}" if definition.returns else ""
    return _wrapped(name, list(_arguments(definition, inspect.signature(thing))), returned)


def _wrapped(name: str, arguments: list[str], returned: str) -> str:
    line = f"{name}({', '.join(arguments)}){returned}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {argument}," for argument in arguments), f"){returned}"])


def _definition(thing: Any) -> ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef:
    source = thing if inspect.isroutine(thing) or isinstance(thing, type) else type(thing).__call__
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(source)))).body
    assert isinstance(found, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return found


def _arguments(definition: ast.FunctionDef | ast.AsyncFunctionDef, made: inspect.Signature) -> Iterator[str]:
    given = definition.args
    written = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    hints = {one.arg: _type(one.annotation) for one in written if one is not None and one.annotation}
    starred = False
    for name, parameter in made.parameters.items():
        prefix = _PREFIXES.get(parameter.kind, "")
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            yield "*"
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        argument = f"{prefix}{name}: {hints[name]}" if name in hints else f"{prefix}{name}"
        if parameter.default is not parameter.empty:
            argument += f"{' = ' if name in hints else '='}{_value(parameter.default)}"
        yield argument


def _type(annotation: ast.expr) -> str:
    """A type as the source has it, without the quotes that keep one from being looked up."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return ast.unparse(annotation)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    return repr(value).strip("<>")  # as in <ANY>


def _results(things: Iterable[Any]) -> list[type]:
    """The classes of ours that these functions take or give back, so that their fields are explained as well."""
    known = {
        name: kind
        for module in RESULTS
        for name, kind in vars(import_module(module)).items()
        if isinstance(kind, type) and kind.__module__ == module
    }
    signatures = [str(inspect.signature(thing)) for thing in things if callable(thing) and not isinstance(thing, type)]
    return [known[name] for name in sorted(known) if any(re.search(rf"\b{name}\b", one) for one in signatures)]


def _prose(text: str) -> str:
    """A docstring as Markdown: its examples are indented, and what looks like a tag is text."""
    return re.sub(r"<(?=[a-zA-Z/])", r"\\<", inspect.cleandoc(text))
