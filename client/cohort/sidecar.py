"""What stands beside an extracted table: with which settings and software it was extracted.

`trifed site extract` writes it; a site that brings the table instead of images shows by it that
its features are the study's.
"""

import json
from pathlib import Path

from client.radiomics.engine import engine_version
from shared.config import Study, digest
from shared.errors import ManifestError
from shared.files import write_atomically
from shared.identity import installed_version

MOST_BYTES = 100_000
WORDS = {
    "radiomics": "other radiomics settings",
    "phases": "other phases",
    "engine": "another version of PyRadiomics",
    "trifed": "another release of trifed",
}


def sidecar_path(table: Path) -> Path:
    """Where a table's sidecar is: `features.csv.json` beside `features.csv`."""
    return table.with_name(f"{table.name}.json")


def write_sidecar(table: Path, study: Study) -> None:
    """Say beside a table how it was extracted."""
    write_atomically(sidecar_path(table), (json.dumps(_content(study), indent=1) + "\n").encode())


def check_sidecar(table: Path, study: Study) -> None:
    """Make sure that a table was extracted with the study's settings by this software.

    Raises:
        ManifestError: If nothing says so, or what does says otherwise.
    """
    path = sidecar_path(table)
    try:
        content = path.read_bytes()
        found = json.loads(content) if len(content) <= MOST_BYTES else None
    except FileNotFoundError:
        raise ManifestError(
            f"{table}: there is no {path.name} beside it, so nothing says how these features were "
            f"extracted. {_remedy()}"
        ) from None
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ManifestError(
            f"{path}: cannot be read as 'trifed site extract' writes it. {_remedy()}"
        )
    expected = _content(study)
    other = [words for key, words in WORDS.items() if found.get(key) != expected[key]]
    if other:
        raise ManifestError(
            f"{table}: was extracted with {' and '.join(other)} than this study's, says "
            f"{path.name}. {_remedy()}"
        )


def _content(study: Study) -> dict[str, object]:
    settings = study.radiomics.model_dump(mode="json", exclude={"deltas", "columns"})
    if study.radiomics.given_widths is not None:
        settings["bin_width_filtered_hu"] = study.radiomics.given_widths
    return {
        "radiomics": digest(settings),
        "phases": list(study.phases),
        "engine": engine_version(),
        "trifed": installed_version("trifed") or "not installed",
    }


def _remedy() -> str:
    return (
        "Extract the table again with 'trifed site extract' and this study file; or, if the "
        "features are the study's all the same, set data.features_from: elsewhere in the site "
        "file, and the report will say so."
    )
