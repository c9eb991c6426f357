"""What protects patients in a study, what does not, and what only the hospital can say."""

from client.forecast.masked import has_secure_sums
from client.policy.beyond import asked_rows
from client.policy.settings import Policy
from client.settings import SiteSettings
from shared.config import Study

MEASURES = (
    "Images, masks, tables and identifiers are read by one process of the hospital's own, which "
    "executes only the code that the hospital installed. No message has a place for an image or "
    "an identifier, and an error is told by a closed code, without its text.",
    "The hospital's policy decides what may leave. Where it is missing, expired, or open to "
    "others, nothing is answered; a study that asks for more is refused before anything is "
    "computed.",
    "Real patients' data are used for a study only after a person of the hospital has approved "
    "it by its hash; whatever is changed in it must be approved anew, and an approval can be "
    "withdrawn.",
    "Patients who object (objections.csv) are read by no command, and the runs in which they "
    "took part are listed.",
    "Every answer stands in the release ledger, with the hash of its bytes, before it leaves, "
    "and every refusal; the rows are chained by their hashes.",
    "A number over fewer patients than the policy's min_cell is refused, and so are "
    "coefficients, scales and bounds by which few patients would carry a sum.",
    "After some refusals in a run (refusals.most of the policy) no further question of it is "
    "answered until a person of the hospital says so.",
    "Between hospital and server everything is encrypted (TLS); each side knows the other by "
    "its key, and the hospital opens no port. Nothing calls home.",
)
BLANKS = (
    "controller, and joint controllers with the agreement between them (Articles 24, 26)",
    "legal basis, for data concerning health too (Articles 6 and 9, national law), and the "
    "ethics committee's vote",
    "necessity and proportionality: why these data, these patients, and no fewer (Article "
    "35(7)(b))",
    "what patients were told, and how they object (Articles 13, 14, 21)",
    "who may read the hospital's folder, and how long caches, answers and ledgers are kept",
    "transfer to other countries, if the server or a site is in one (Articles 44 to 49)",
    "the data protection officer's advice, and whether the authority must be asked (Articles "
    "35(2), 36)",
)


def risks_of(study: Study, settings: SiteSettings, policy: Policy) -> tuple[str, ...]:
    """What remains at risk in this study with this policy."""
    if settings.role == "external":
        return (*_of_evaluation(policy), OTHERS)
    sums = SECURE_SUMS if has_secure_sums(study, policy) else SUMS
    return (
        *_of_networks(study),
        *_of_fusion(study),
        *_of_rows(study),
        sums,
        _of_differences(policy),
        OTHERS,
    )


SUMS = (
    "The server sees this hospital's sums and weights, not only their total over all hospitals, "
    "unless another hospital demands secure sums. Who controls the server can compare them over "
    "rounds."
)
SECURE_SUMS = (
    "Sums and weights leave under masks, so that the server knows their total over all training "
    "hospitals alone. The total is known, and so are the cohort and the models' scores of this "
    "hospital. All other hospitals together, with the server, know this one's; and the masks "
    "hide only if the identities that trifed site peers shows are the other hospitals' own."
)


def _of_differences(policy: Policy) -> str:
    least = policy.cohort.min_delta
    again = (
        "The same is told again of cohorts that differ by any number of patients (cohort.min_delta "
        "is 1): two runs can tell of one patient by the difference. "
        if least == 1
        else f"The same is not told again of a cohort that differs by fewer than {least} patients "
        "(cohort.min_delta). "
    )
    return (
        f"{again}Each answer is checked by itself otherwise: many different questions of a "
        "server's own making can together tell more than each does; the ledger shows them."
    )


OTHERS = (
    "What has left cannot be called back: recipients keep models and results, and better "
    "attacks may come. Nothing here makes data anonymous in the sense of the law by itself."
)


def _of_networks(study: Study) -> tuple[str, ...]:
    if not study.branches:
        return ()
    if study.dp is None:
        return (
            "Weights of networks are trained without noise and carry no formal guarantee "
            "(epsilon is infinite): who holds a model and suspects a patient may learn whether "
            "that patient was in it, and something of how the patient's images look.",
        )
    noise = study.dp.cnn
    return (
        "Weights of networks are differentially private for each patient: epsilon at most "
        f"{noise.epsilon:g} at delta {noise.delta:g} for each network. That bounds, and does not "
        "exclude, what weights tell of a patient; other numbers are told without noise.",
    )


def _of_fusion(study: Study) -> tuple[str, ...]:
    if not study.fusion.is_private:
        return ()
    noise = study.fusion.dp
    return (
        "What is told for the fusion layer is differentially private for each patient: epsilon at "
        f"most {noise.epsilon:g} at delta {noise.delta:g} in this study. That bounds, and does not "
        "exclude, what the layer tells of a patient; its inputs are not covered.",
    )


def _of_rows(study: Study) -> tuple[str, ...]:
    rows = asked_rows(study)
    if not rows:
        return ()
    parts = ", ".join(rows)
    return (
        f"Rows about single {study.fusion.rows_of} patients leave, without an id ({parts}). They "
        "are pseudonymous data: who has other data of a patient, such as a later scan, may find "
        "the patient's row.",
    )


def _of_evaluation(policy: Policy) -> tuple[str, ...]:
    told = {
        "summary": "Means, rates and areas under curves of this cohort leave, each once.",
        "binned": "Counts of scores in fine bins by label leave: nearly a row of each patient.",
        "scores": "A row of scores and the label of each patient leaves, without an id: "
        "pseudonymous data.",
    }
    return (told[policy.release.external],)
