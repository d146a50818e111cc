"""The documentation: it builds, and what it links to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from MISSUCore.contract.model_card import read_card

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "segment_case" in (tmp_path / "api" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    files = [link for link in links if "://" not in link]
    assert not [link for link in files if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_the_repository_lead_to_its_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(
        r"github(?:usercontent)?\.com/SlicerMISSU/SlicerMISSU/(?:blob/)?main/([^)#\s]+)", text
    )
    assert not [link for link in links if not (ROOT / link).exists()]


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"(\w+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_readme_is_short_and_begins_with_a_picture() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200
    assert any(line.startswith("![") for line in lines[:20])


def test_the_files_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(?:[\w/]+/)?(\w+\.py)`", text))
    there = {path.name for path in ROOT.rglob("*.py")}
    assert len(names) > 20
    assert not names - there


def test_the_documents_tell_the_dice_of_the_models_cards() -> None:
    precise, fast = (
        read_card(ROOT / f"MISSUCore/weights/missu-brats-{name}.json").metrics
        for name in ("precise", "fast")
    )
    evidence = (ROOT / "docs/evidence.md").read_text(encoding="utf-8")
    for document in ((ROOT / "README.md").read_text(encoding="utf-8"), evidence):
        for group in ("glioma", "African"):
            assert " / ".join(
                f"{dice:.3f}" for dice in precise["mean_by_group"][group].values()
            ) in (document)
        for key in ("dice_median", "dice_95_interval"):
            rows = [values[key] for values in precise["mean_by_region"].values()]
            assert " / ".join(told(row) for row in rows) in document
    figures = [values["dice"] for values in fast["mean_by_region"].values()]
    assert f"| Dice | {' | '.join(f'{dice:.3f}' for dice in figures)} |" in evidence


def told(figure: float | list[float]) -> str:
    """A median or the two ends of an interval."""
    return (
        " to ".join(f"{end:.3f}" for end in figure) if isinstance(figure, list) else f"{figure:.3f}"
    )
