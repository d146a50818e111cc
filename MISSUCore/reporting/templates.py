"""Templates of the HTML pages; all values in them are escaped."""

from __future__ import annotations

from pathlib import Path

import jinja2


def load_template(name: str) -> jinja2.Template:
    """A Jinja template of this folder; undefined variables in it are errors."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(css_color=_css_color, number=_number)
    return environment.get_template(name)


def _css_color(color: tuple[int, int, int]) -> str:
    """An RGB color, 0 to 255, in CSS syntax."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def _number(value: float | None, digits: int) -> str:
    return "not known" if value is None else f"{value:.{digits}f}"
