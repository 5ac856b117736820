"""The files that a user's Python module consists of, found without importing it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from k210.errors import UserError


def module_files(root: Path, module: str, setting: str) -> tuple[Path, ...]:
    """The file of a module below ``root`` and of those modules there it imports.

    Args:
        root: the folder that it is imported from.
        module: its dotted name.
        setting: the key of the YAML that names it.

    Raises:
        UserError: there is no such module.
    """
    first = _file(root, module)
    if first is None:
        path = Path(*module.split(".")).with_suffix(".py").as_posix()
        raise UserError(
            f"{setting}: there is no module {module!r}; expected the file {path} "
            f"in {root}"
        )
    found: dict[Path, None] = {first: None}
    waiting = [first]
    while waiting:
        for name in _imports(waiting.pop(), root):
            imported = _file(root, name)
            if imported is not None and imported not in found:
                found[imported] = None
                waiting.append(imported)
    return tuple(sorted(found))


def _file(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(path: Path, root: Path) -> Iterator[str]:
    """Dotted names that a file imports; more than exist, which does no harm."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # importing it will tell
    package = path.parent.relative_to(root).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            kept = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*kept, *([node.module] if node.module else [])])
            if base:
                yield base
            yield from (".".join(filter(None, (base, a.name))) for a in node.names)
