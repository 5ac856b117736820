"""The Jinja2 templates of pages in the report's style."""

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.report.figures import FILTERS

HERE = Path(__file__).parent


def environment(folder: Path = HERE, **filters: Callable[..., object]) -> Environment:
    """The templates of a folder and of the report, with its filters and further ones.

    What a template names and is not given is an error.
    """
    templates = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(FILTERS, **filters)
    return templates
