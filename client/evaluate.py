"""`trifed evaluate`: a frozen bundle on this hospital's cohort, without a server or a network."""

import logging
from dataclasses import dataclass
from pathlib import Path

from client.approvals.approvals import refuse_unapproved
from client.looks import open_cohort
from client.objections.took_part import TookPart
from client.prepare import Progress
from client.releases.cells import watched_cells
from client.releases.ledger import ledger_of
from client.releases.row import file_content
from client.service import SiteService
from client.settings import load_site_settings
from client.site import open_site
from client.stages.external_evaluate import told_before
from shared.bundle_file import BundleFile, read_bundle
from shared.config import digest, networks
from shared.errors import BundleError, ConfigError, HandshakeError
from shared.external_result import ExternalResult, render, write_result
from shared.identity import code_hash, differing_versions, release, versions
from shared.stages.evaluate import OutputsRequest, ScoresRequest
from shared.stages.external_evaluate import EXTERNAL_OUTPUTS, EXTERNAL_SCORES, ExternalReply

log = logging.getLogger("trifed.evaluate")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What may leave, whether it is a first answer told again, and the smallest cell in it."""

    result: ExternalResult
    told_before: bool
    confidence_level: float
    least_cell: int | None
    study_hash: str


def evaluate_file(
    bundle_file: Path,
    site_file: Path,
    *,
    bundle_hash: str = "",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a bundle's file on this hospital's patients, by the code of the online stage.

    Args:
        bundle_hash: What the bundle's hash must begin with; empty if nobody told it.

    Raises:
        BundleError: If the file is damaged or not the one that is meant.
        HandshakeError: If the bundle was made with another release or other libraries.
        ConfigError: If this site trained the bundle, or is no external site.
        PolicyError: If this site has no policy in force.
        ApprovalError: If the bundle's study is not approved here.
        TrifedError: Whatever the online stage refuses.
    """
    found = read_bundle(bundle_file)
    check_meant(bundle_file, found.bundle.hash(), bundle_hash)
    check_maker(found)
    check_outsider(site_file, found)
    refuse_unapproved(site_file, found.study)
    site = open_site(site_file, found.study, threads=threads, progress=progress, guest=True)
    service = SiteService(site, threads=site.threads)
    first = open_cohort(service.bench.looks, site.external_test).first(found.bundle.hash())
    TookPart(site.folder, site.cache_folder).note(
        [case.patient_id for case in site.everyone],
        what="bundle",
        name=found.bundle.hash(),
        study="",
    )
    with watched_cells() as cells:
        reply = told_before(service.bench, first) if first else ask(service, found)
    result = ExternalResult(
        site=site.name,
        synthetic=site.settings.synthetic or found.maker.synthetic,
        study=found.study.name,
        bundle_hash=found.bundle.hash(),
        trifed=release(),
        code_hash=code_hash(),
        reply=reply,
    )
    level = found.study.evaluation.confidence_level
    return Evaluation(result, first is not None, level, cells.least, digest(found.study))


def hand_out(found: Evaluation, site_file: Path, out: Path) -> None:
    """Write the result's file, once the release ledger says so.

    Raises:
        LedgerError: If the ledger is not whole or cannot be written; nothing is written then.
    """
    ledger_of(site_file, found.study_hash).release(
        file_content(render(found.result)),
        run="",
        question="evaluate",
        least_cell=found.least_cell,
        to=f"the file {out.name}, of bundle {found.result.bundle_hash[:12]}",
    )
    write_result(out, found.result)


def ask(service: SiteService, found: BundleFile) -> ExternalReply:
    """Put the questions of the online stage to the service of this hospital."""
    for network in networks(found.study):
        request = OutputsRequest(network.name, found.weights[network.name])
        service.answer(EXTERNAL_OUTPUTS.name, request)
    reply = service.answer(EXTERNAL_SCORES.name, ScoresRequest(found.bundle))
    if not isinstance(reply, ExternalReply):
        raise BundleError("the site service gave no answer to an external evaluation.")
    return reply


def check_meant(path: Path, found: str, told: str) -> None:
    """Refuse a bundle that is not the one whose hash was told.

    Raises:
        BundleError: If its hash does not begin with what was told.
    """
    if not found.startswith(told):
        raise BundleError(
            f"{path}: is bundle {found}, not {told}. Ask whoever told you the hash for their file."
        )


def check_maker(found: BundleFile) -> None:
    """Refuse a bundle whose numbers another release or other libraries would give.

    Raises:
        HandshakeError: Naming what differs.
    """
    maker = found.maker
    if maker.code_hash != code_hash():
        raise HandshakeError(
            f"the bundle was made with other code of trifed (release {maker.trifed}, code "
            f"{maker.code_hash[:16]}) than runs here (release {release()}, code "
            f"{code_hash()[:16]}); other code may give other numbers. Install the same release."
        )
    differing = differing_versions(maker.versions, versions())
    if differing:
        raise HandshakeError(
            f"libraries differ from those that the bundle was made with: {differing}. "
            "Install these."
        )


def check_outsider(site_file: Path, found: BundleFile) -> None:
    """Refuse a site that is not external, or that the bundle was trained at.

    Raises:
        ConfigError: Saying which.
    """
    settings = load_site_settings(site_file)
    if settings.name in found.study.sites.training:
        raise ConfigError(
            f"{site_file}: the bundle was trained at '{settings.name}'; patients of a training "
            "site are no external cohort."
        )
    if settings.role != "external":
        raise ConfigError(
            f"{site_file}: has the role {settings.role}; only an external site's patients, none of "
            "whom trained anything, test a bundle. Set role: external in a site file of their own."
        )
