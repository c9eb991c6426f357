"""Run a study: every stage in order, from wherever the folder says it stopped."""

from functools import partial

from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from server.coordinator import Coordinator, need
from server.results import write_results
from server.secure_federation import with_secure_sums
from server.stages import RUNS
from server.stages.train_branches import best_weights, last_weights
from server.study import DiscretiseRecord, Identity, Study
from shared.branches import PUBLISHED
from shared.config import digest, networks
from shared.files import remove_leftovers, replace_atomically, write_atomically
from shared.identity import code_hash
from shared.strict_yaml import dump_settings


def run_study(coordinator: Coordinator) -> Study:
    """Run every stage that is still to be done and write weights and results.

    Linear algebra runs on one thread, as at the sites: the number of threads decides how sums are
    divided, and so the last digits.

    Raises:
        TrifedError: If a stage cannot be done; all that was done is saved, and the same call
            goes on from there.
    """
    threadpool_limits(limits=1, user_api="blas")
    remove_leftovers(coordinator.out)
    identity = Identity(digest(coordinator.settings), code_hash())
    coordinator.folder.begin(identity)
    study = coordinator.folder.load()
    for number, (stage, run) in enumerate(RUNS.items(), start=1):
        coordinator.progress.stage_began(stage, number, len(RUNS))
        resumed = is_done(study, stage)
        if not resumed:
            study = run(study, coordinator)
        coordinator = with_secure_sums(study, coordinator)
        coordinator.progress.stage_ended(stage, resumed=resumed)
    write_weights(study, coordinator)
    write_frozen_study(study, coordinator)
    write_results(study, coordinator)
    return study


def is_done(study: Study, stage: str) -> bool:
    """Whether a stage's slot is full; training fills its slot round by round."""
    record = getattr(study, stage)
    if record is not None and study.train_branches is record:
        return study.embed is not None
    return record is not None


def write_frozen_study(study: Study, coordinator: Coordinator) -> None:
    """The study file with what the sites learnt of extraction in its place.

    `trifed site extract` takes it, and so does the next study that must have the same features.
    """
    record: DiscretiseRecord = need(study.discretise, "discretise")
    if record.median_ranges_hu is None:
        return
    settings = coordinator.settings
    widths = {"bin_width_filtered_hu": record.extraction.bin_widths_hu}
    radiomics = settings.radiomics.model_copy(update=widths)
    frozen = settings.model_copy(update={"radiomics": radiomics})
    write_atomically(coordinator.out / "study-frozen.yaml", dump_settings(frozen).encode())


def write_weights(study: Study, coordinator: Coordinator) -> None:
    """The global weights of each network by name, for anyone to load: best round's, and last's."""
    for network in networks(coordinator.settings):
        metadata = {"trifed": network.model_dump_json(context=PUBLISHED)}
        for suffix, weights_of in (("", best_weights), ("-last", last_weights)):
            tensors = weights_of(study, coordinator, network).tensors()
            path = coordinator.out / "weights" / f"{network.name}{suffix}.safetensors"
            replace_atomically(path, partial(save_file, tensors, metadata=metadata))
