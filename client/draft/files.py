"""The files of a draft: manifest.csv, the reasons beside it, and a site.yaml to be filled in."""

import csv
import io
import json
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal

from client.draft.draft import Draft, Line, cell
from client.draft.guesses import Guess, LeftOut
from client.policy.load import NAME as POLICY
from client.policy.text import policy_text
from client.policy.write import a_year_from, write_policy
from shared.config import Study
from shared.errors import ConfigError
from shared.files import write_atomically

Role = Literal["training", "external"]
MANIFEST, WHY, SITE = "manifest.csv", "manifest.why.csv", "site.yaml"
WHY_COLUMNS = ("line", "patient_id", "column", "sure", "filled_in", "path", "why")
TEMPLATE = """\
# A draft: check every line. It stays in the hospital; neither it nor anything it names is sent.
# What may leave stands in policy.yaml beside it.

# The form of this file; 1 is the only one.
version: 1
# Your site's name in the study file, sites.training or sites.external.
name: {name}
# training (trains, and tests on its internal_test split) or external (only evaluates).
role: {role}
# true only for made-up patients: their report says so on every page.
synthetic: false

# Your files. A relative path starts at this file's folder.
data:
  # The folder that the manifest's paths start at; a path that leaves it is refused.
  root: {root}
  # The table of patients and their images. manifest.why.csv says how each cell was found.
  manifest: manifest.csv
  # The table of labels and predictors, with the manifest's patient_id; it is for you to write.
  # null for prediction alone, where there are none.
  clinical: clinical.csv
  # true takes a mask that was drawn on another series of the same examination, or on another
  # grid, and resamples it; the check says for whom. false refuses such a patient.
  resample_masks: false

# Where prepared images and features are kept. It holds patient data: give it the same protection
# as the images. Relative to this file's folder; safe to delete.
cache: cache

device:
  # auto (a GPU if there is one), cpu or cuda (a GPU, and an error without one).
  kind: auto
  # Processor threads; 0 for all cores.
  threads: 0
"""


def check_free(out: Path) -> None:
    """Refuse to write where a manifest or site file stands.

    Raises:
        ConfigError: If one of the files exists.
    """
    for name in (MANIFEST, WHY, SITE):
        if (out / name).exists() or (out / name).is_symlink():
            raise ConfigError(
                f"{out / name}: exists already and is not overwritten. Move it away, or name "
                "another folder with --out."
            )


def role_of(study: Study, name: str, asked: Role | None) -> Role:
    """The role that the study gives a site; one that it does not name may be external.

    Raises:
        ConfigError: If the study does not name the site, or names it in the other role.
    """
    training, external = study.sites.training, study.sites.external
    if name not in (*training, *external):
        if asked == "external":
            return asked
        known = ", ".join((*training, *external))
        raise ConfigError(
            f"--name {name}: is not a site of the study; it names {known}. If you were invited to "
            "evaluate its models only, say --role external."
        )
    role: Role = "training" if name in training else "external"
    if asked not in (None, role):
        raise ConfigError(f"--role {asked}: in the study {name} is a site with role {role}.")
    return role


def write_draft(draft: Draft, folder: Path, out: Path, *, name: str, role: Role) -> None:
    """Write manifest.csv, manifest.why.csv, site.yaml, and policy.yaml unless it is there.

    Raises:
        ConfigError: If one of them exists, or the folder's name is not valid text.
    """
    check_free(out)
    root, here = folder.resolve(), out.resolve()
    text = root.relative_to(here).as_posix() if root.is_relative_to(here) else str(root)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{folder!a}: the folder's name is not valid text. Rename it.") from None
    site = TEMPLATE.format(name=name, role=role, root=json.dumps(text, ensure_ascii=False))
    write_atomically(out / WHY, _csv(_reasons(draft)))
    write_atomically(out / MANIFEST, _csv(_rows(draft)))
    if not (out / POLICY).exists():
        write_policy(out / POLICY, policy_text("standard", valid_until=a_year_from(date.today())))
    write_atomically(out / SITE, site.encode())


def _rows(draft: Draft) -> list[list[str]]:
    own = [phase for phase in draft.phases if any(phase in line.masks for line in draft.lines)]
    images = [f"image_{phase}" for phase in draft.phases]
    rows = [["patient_id", *images, "mask", *(f"mask_{phase}" for phase in own), "roi"]]
    for line in draft.lines:
        guesses = [
            *(line.images[phase] for phase in draft.phases),
            *(line.masks.get(phase) for phase in (None, *own)),
        ]
        rows.append([line.patient_id, *(_cell(guess, draft) for guess in guesses), line.roi])
    return rows


def _cell(guess: Guess | None, draft: Draft) -> str:
    if guess is None or guess.path is None or not guess.written(unsure_too=draft.unsure_too):
        return ""
    return cell(guess.path) or ""


def _reasons(draft: Draft) -> list[list[str]]:
    """A row for each cell, with the manifest's line, and for each thing that was left out."""
    rows = [list(WHY_COLUMNS)]
    for number, line in enumerate(draft.lines, start=2):
        whose = [str(number), "" if draft.named else line.patient_id]
        rows += [whose + reason for reason in _reasons_of(line, draft)]
    return rows + [["", "", *_left_out(one)] for one in draft.left_out]


def _reasons_of(line: Line, draft: Draft) -> list[list[str]]:
    cells: list[tuple[str, Guess]] = [(f"image_{p}", guess) for p, guess in line.images.items()]
    cells += [(f"mask_{p}" if p else "mask", guess) for p, guess in line.masks.items()]
    rows = []
    for column, guess in cells:
        filled = "yes" if guess.written(unsure_too=draft.unsure_too) else "no"
        path = _shown(guess.path) if guess.path is not None else ""
        rows.append([column, guess.sure, filled, path, guess.why])
    if line.roi_why:
        sure = "unsure" if not line.roi else "likely" if "though" in line.roi_why else "certain"
        rows.append(["roi", sure, "yes" if line.roi else "no", "", line.roi_why])
    return rows + [_left_out(one) for one in line.left_out]


def _left_out(one: LeftOut) -> list[str]:
    return ["", "left out", "no", _shown(one.path), one.why]


def _shown(path: Path) -> str:
    return cell(path) or ascii(path.as_posix())


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    """UTF-8 with the mark by which spreadsheets know it, so that Chinese paths are shown."""
    text = io.StringIO()
    csv.writer(text, lineterminator=os.linesep).writerows(rows)
    return text.getvalue().encode("utf-8-sig", errors="backslashreplace")
