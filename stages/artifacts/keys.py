"""A stage's key: everything that decides what comes out of it.

key = settings + tool versions + its own sources + canonical digests of its inputs.
The parts are kept by name, so that ``doit why`` can say which of them changed.
"""

import hashlib
import json
import re
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from k210.errors import UserError
from stages.artifacts.modules import module_files
from stages.artifacts.records import sha256
from stages.artifacts.userfiles import user_digest, user_path
from stages.graph import Stage

FORMAT = 1
"""Raised when the meaning of a key, a digest or a record changes."""

CODE = Path(__file__).parents[2]
"""The folder that holds the packages ``stages`` and ``k210``."""

INFRASTRUCTURE = (
    "k210.child",
    "k210.errors",
    "stages.artifacts",
    "stages.commands",
    "stages.console",
    "stages.faults",
    "stages.graph",
    "stages.lifecycle",
    "stages.project",
)
"""Modules that carry results about but do not change them."""

_IMPORT = re.compile(
    r"^\s*(?:from\s+((?:stages|k210)[\w.]*)\s+import\s+(\([^)]*\)|.+)"
    r"|import\s+((?:stages|k210)[\w.]*))",
    re.MULTILINE,
)

Parts = dict[str, Any]


def key_of(parts: Parts) -> str:
    """The key made of these parts: 64 hex digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def parts_of(
    stage: Stage, settings: Mapping[str, Any], digests: Mapping[str, str], root: Path
) -> Parts:
    """The named parts of a stage's key.

    Args:
        stage: the stage.
        settings: the project's validated settings.
        digests: canonical digests of its inputs, by path.
        root: the folder that the paths of user's files are relative to.

    Raises:
        UserError: a user's file or a tool is missing.
    """
    parts: Parts = {"format": FORMAT, "stage": stage.name}
    for section in stage.sections:
        parts.update(_settings(settings, section))
    for tool in stage.tools:
        parts[f"tool {tool}"] = tool_version(tool)
    for setting in stage.files:
        if path := _lookup(settings, setting):
            parts[f"file {setting}"] = user_digest(
                root,
                user_path(root, path, setting),
                setting,
                with_csv_rows=settings["data"]["kind"] == "csv"
                and setting == "data.path",
            )
    for setting in stage.modules:
        if function := _lookup(settings, setting):
            for path in module_files(root, function.partition(":")[0], setting):
                name = path.relative_to(root).as_posix()
                parts[f"file {name}"] = sha256(path)
    for source in sources(f"stages.{stage.name}"):
        name = source.relative_to(CODE).as_posix()
        parts[f"source {name}"] = _source_digest(source)
    for name in stage.inputs:
        parts[f"input {name}"] = digests[name]
    return parts


def differences(old: Parts, new: Parts) -> list[str]:
    """What changed between two sets of parts, a phrase for each."""
    phrases = []
    for name in [*new, *(name for name in old if name not in new)]:
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        kind, _, rest = name.partition(" ")
        if kind == "tool":
            phrases.append(f"{rest} {before or 'none'} → {after or 'none'}")
        elif kind == "source":
            phrases.append(f"{rest} was edited")
        elif kind in ("input", "file"):
            phrases.append(f"{rest} changed ({_short(before)} → {_short(after)})")
        else:
            phrases.append(f"{name}: {json.dumps(before)} → {json.dumps(after)}")
    return phrases


def _short(digest: Any) -> str:
    return str(digest)[:8] if digest else "none"


def _lookup(settings: Mapping[str, Any], dotted: str) -> Any:
    value: Any = settings
    for name in dotted.split("."):
        value = value[name]
    return value


def _settings(settings: Mapping[str, Any], dotted: str) -> Iterator[tuple[str, Any]]:
    value = _lookup(settings, dotted)
    if isinstance(value, Mapping):
        for name in value:
            yield from _settings(settings, f"{dotted}.{name}")
    else:
        yield dotted, value


@cache
def tool_version(name: str) -> str:
    """The installed version of a distribution, read off its metadata folder's name.

    importlib.metadata would take longer than all the rest of an idle ``doit``.

    Raises:
        UserError: it is not installed.
    """
    wanted = re.sub(r"[-_.]+", "_", name).lower()
    if version := _installed().get(wanted):
        return version
    raise UserError(f"{name} is not installed here; run `make setup`")


@cache
def _installed() -> dict[str, str]:
    found = {}
    for entry in Path(sysconfig.get_path("purelib")).glob("*.dist-info"):
        name, _, version = entry.name[: -len(".dist-info")].partition("-")
        found[re.sub(r"[-_.]+", "_", name).lower()] = version
    return found


@cache
def _source_digest(path: Path) -> str:
    return sha256(path)


@cache
def sources(module: str) -> tuple[Path, ...]:
    """The module's own source files and those it imports, without infrastructure."""
    found: dict[Path, None] = {}
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if package := name.rpartition(".")[0]:  # importing a module runs its package
            waiting.append(package)
        if name.startswith(INFRASTRUCTURE):
            continue
        for path in _files(name):
            found[path] = None
            waiting += _imports(path)
    return tuple(sorted(found))


@cache
def _files(module: str) -> tuple[Path, ...]:
    """The files of a module; a stage's package is one unit, with its templates.

    To a package of `k210` belongs the C code that lies in it, to what builds the
    firmware all that it is built from.
    """
    base = CODE.joinpath(*module.split("."))
    if base.is_dir():
        if module.startswith("stages."):
            return (*sorted(base.rglob("*.py")), *sorted(base.rglob("*.j2")))
        code = base / "__init__.py"
        return (*([code] if code.exists() else []), *sorted(base.glob("*.c")))
    source = base.with_suffix(".py")
    programs = _firmware() if module == "k210.firmware" else ()
    return (*([source] if source.exists() else []), *programs)


@cache
def _firmware() -> tuple[Path, ...]:
    found = (CODE / "firmware").rglob("*.*")
    return tuple(sorted(p for p in found if p.suffix in (".c", ".h", ".S", ".ld")))


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """The modules of ours that a file names in its imports, or might."""
    if path.suffix != ".py":
        return ()
    modules: dict[str, None] = {}
    for match in _IMPORT.finditer(path.read_text(encoding="utf-8")):
        package, names, module = match.groups()
        if module:
            modules[module] = None
            continue
        modules[package] = None
        for name in re.findall(r"\w+", names):
            modules[f"{package}.{name}"] = None
    return tuple(modules)
