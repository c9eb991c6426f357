"""What a data protection impact assessment needs to know of a study at this hospital.

All of it is read from the study, the policy, the approvals and the release ledger. What only people
of the hospital can say is left blank, and named.

References:
    Regulation (EU) 2016/679 (GDPR), Article 35(7): what an assessment contains.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from client.approvals.approvals import Approvals, approval_lines
from client.assessment.words import BLANKS, MEASURES, risks_of
from client.forecast.forecast import Forecast, forecast
from client.joining.offered import Offered
from client.joining.plain_words import LABEL, asked_lines, study_lines
from client.policy.keys import KEYS, exceptions
from client.policy.load import load_policy
from client.policy.text import table_rows
from client.releases.ledger import ReleaseLedger, head_of
from client.releases.table import Left, left_by
from client.settings import SiteSettings, load_site_settings
from shared.config import Study
from shared.fingerprints import grouped

LABEL_ENDS = len(LABEL.format("", ""))
SENTENCES = {key.name: key.sentence for key in KEYS}


@dataclass(frozen=True, slots=True)
class Appendix:
    """All that the page says.

    Attributes:
        date: Of the page, in UTC.
        purpose: What the study is and asks, a line each.
        data: What patients' data are used, and that they stay.
        recipients: Who is told, and who else has the models afterwards.
        foreseen: Every answer that would leave.
        policy: Key, value, the pack's value, and what the key says.
        left: By question, of this study.
        head: Number and hash of the ledger's last row, over all studies.
        blanks: What the hospital fills in.
    """

    site: str
    role: str
    synthetic: bool
    date: str
    title: str
    study_hash: str
    purpose: tuple[str, ...]
    data: tuple[str, ...]
    recipients: tuple[str, ...]
    foreseen: Forecast
    policy: tuple[tuple[str, str, str, str], ...]
    exceptions: tuple[str, ...]
    approvals: tuple[str, ...]
    left: tuple[Left, ...]
    head: str
    measures: tuple[str, ...] = MEASURES
    risks: tuple[str, ...] = ()
    blanks: tuple[str, ...] = BLANKS


def appendix(site_file: Path, offered: Offered) -> Appendix:
    """The appendix for a study at the site of a site file; no patient's file is opened.

    Raises:
        ConfigError: If the study does not name the site in its role.
        PolicyError: If there is no policy in force.
        ApprovalError: If the approvals were changed by another hand.
        LedgerError: If the release ledger is not whole.
    """
    settings, study = load_site_settings(site_file), offered.study
    policy, folder = load_policy(site_file, settings), site_file.resolve().parent
    rows = ReleaseLedger(folder, folder / settings.cache).rows()
    of_study = [row for row in rows if row.study == offered.study_hash]
    said = [line for line in Approvals(folder).lines() if line.study == offered.study_hash]
    return Appendix(
        site=settings.name,
        role=settings.role,
        synthetic=settings.synthetic,
        date=datetime.now(UTC).date().isoformat(),
        title=study.title,
        study_hash=offered.study_hash,
        purpose=tuple(
            sentence(line)
            for line in (*study_lines(study, offered.study_hash)[1:], *asked_lines(study, settings))
        ),
        data=data_of(study, settings),
        recipients=recipients_of(offered, settings),
        foreseen=forecast(study, site_file),
        policy=tuple((*row, SENTENCES.get(row[0], "")) for row in table_rows(policy)),
        exceptions=tuple(exceptions(policy)),
        approvals=tuple(approval_lines(said)) if said else (),
        left=left_by(of_study),
        head=str(head_of(rows)),
        risks=risks_of(study, settings, policy),
    )


def sentence(line: str) -> str:
    """A line whose label stands in a column of its own (`LABEL`), with a colon behind it."""
    label, text = line[:LABEL_ENDS], line[LABEL_ENDS:]
    return f"{label.strip()}: {text}" if label.startswith("  ") else line


def data_of(study: Study, settings: SiteSettings) -> tuple[str, ...]:
    """What patients' data are used."""
    columns = [
        study.endpoint.column,
        *study.clinical.predictors,
        *study.cohort.describe,
        *(subgroup.column for subgroup in study.evaluation.subgroups),
    ]
    images = (
        "a table of radiomics features (data.features of the site file)"
        if settings.data.features
        else f"CT of the phases {', '.join(study.phases)}, with a mask of the lesion for each; of "
        "their headers spacing, tube voltage, maker and kernel"
    )
    return (
        f"{images}; it stays in the hospital",
        f"columns of the clinical table: {', '.join(dict.fromkeys(columns))}; they stay",
        "patients' identifiers, to join images with tables; they stay, and no message has a place "
        "for one",
    )


def recipients_of(offered: Offered, settings: SiteSettings) -> tuple[str, ...]:
    """Who is told."""
    study, invitation = offered.study, offered.invitation
    others = [name for name in study.sites.training if name != settings.name]
    told = "the study's server; no invitation was given, which would say where it is"
    if invitation is not None:
        key = grouped(invitation.fingerprint)
        told = f"the study's server at {invitation.address}, whose key has the fingerprint {key}"
    return (
        told,
        f"the sites that train ({', '.join(others) or 'no other'}): the pooled models, and no "
        "single site's numbers",
        f"the sites that test ({', '.join(study.sites.external) or 'none is named'}), and whoever "
        "is given the finished bundle or the report: the finished models, and results by site",
    )
