"""The project's exceptions: one small tree, each class with the closed code that may travel.

The text of an error names files, lines and patients; it is for people inside the hospital. What
crosses the wire is the class's ``code`` and nothing else.
"""

from typing import ClassVar


class TrifedError(Exception):
    """What went wrong and what to do about it; every error of the product is one of these."""

    code: ClassVar[str] = "E_INTERNAL"


class ConfigError(TrifedError):
    """A study or site file does not say what it must."""

    code = "E_CONFIG"


class ManifestError(TrifedError):
    """A manifest or clinical table does not describe a usable cohort."""

    code = "E_MANIFEST"


class ImageError(TrifedError):
    """A volume or mask cannot be used."""

    code = "E_IMAGE"


class CohortError(TrifedError):
    """A site has too few usable patients, or the wrong ones, for what was asked."""

    code = "E_COHORT"


class SeparationError(CohortError):
    """Predictors separate the labels of a cohort, so that no finite estimate exists."""


class InstallError(TrifedError):
    """The software or a library is missing, or not the one the study was made for."""

    code = "E_INSTALL"


class HandshakeError(TrifedError):
    """The two sides do not run the same code on the same study."""

    code = "E_HANDSHAKE"


class InvitationError(TrifedError):
    """An invitation or an answer to one is damaged, or not from whom it says it is."""

    code = "E_SIGN"


class PolicyError(TrifedError):
    """The hospital does not permit what the study asks."""

    code = "E_POLICY"


class ApprovalError(PolicyError):
    """No person of the hospital has approved the study, or the approval was withdrawn."""

    code = "E_APPROVAL"


class SmallCellError(PolicyError):
    """A statistic would be of fewer patients than the hospital lets anything be told of."""

    code = "E_SMALL_CELL"


class LeverageError(SmallCellError):
    """Too few patients carry a sum at the coefficients that were asked."""

    code = "E_LEVERAGE"


class DifferenceError(PolicyError):
    """A number would differ by few patients, or by few terms, from one that was told before."""

    code = "E_DIFF"


class LockedError(TrifedError):
    """Too much of a run was refused: the hospital tells it nothing until a person says so."""

    code = "E_LOCKED"


class BudgetError(PolicyError):
    """Training would show more of a patient than the study or the hospital allows."""

    code = "E_BUDGET"


class SecureSumError(PolicyError):
    """A secure sum would not hide what it must, or its parts do not belong together."""

    code = "E_SECAGG"


class CodecError(TrifedError):
    """A message does not have the form that the stage's contract gives it."""

    code = "E_CODEC"


class AggregationError(TrifedError):
    """A round was refused: the replies cannot be aggregated safely."""

    code = "E_AGGREGATION"


class FederationError(TrifedError):
    """A site did not answer, or answered with an error.

    Args:
        codes: The closed codes of the sites that failed, where there are any.
    """

    code = "E_FEDERATION"

    def __init__(self, message: str = "", codes: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.codes = codes


class WithheldError(FederationError):
    """Sites tell no sums at the coefficients that were asked: too few patients carry them there."""


class StoppedError(TrifedError):
    """Somebody asked the server to stop; what was done is saved."""

    code = "E_STOPPED"


class StateError(TrifedError):
    """A run's saved state is missing, damaged or belongs to another study."""

    code = "E_STATE"


class BundleError(StateError):
    """The file of a bundle is damaged, of another release, or not the one that is meant."""

    code = "E_BUNDLE"


class ResultError(StateError):
    """The file of an external result is damaged, or is of another bundle."""

    code = "E_RESULT"


class LedgerError(StateError):
    """The hospital's record of what left it, or of what training has spent, is damaged."""

    code = "E_LEDGER"


class LooksError(StateError):
    """The hospital's record of what its external cohort was shown is damaged or in use."""

    code = "E_LOOKS"


class AuditError(StateError):
    """What a run released cannot be audited: nothing is there to attack, or it is kept no more."""

    code = "E_AUDIT"


class TicketError(TrifedError):
    """A site does not know the question whose answer is waited for; it must be asked again."""

    code = "E_TICKET"


class ServiceError(TrifedError):
    """A hospital's site service is not there, has too much to do, or broke off; ask it again."""

    code = "E_SERVICE"


class TrainingError(TrifedError):
    """Local training broke down, for instance on a gradient that is not finite."""

    code = "E_TRAINING"


def codes_of(error_class: type[TrifedError]) -> frozenset[str]:
    """The codes of a class and of all that derive from it."""
    return frozenset({error_class.code}).union(*map(codes_of, error_class.__subclasses__()))


CODES = codes_of(TrifedError)
