"""The server's half of each stage, in the order in which a study runs them."""

from collections.abc import Callable

from server.coordinator import Coordinator
from server.stages import (
    clinical_model,
    describe_cohort,
    discretise,
    embed,
    evaluate,
    explain,
    external_evaluate,
    fuse,
    hello,
    select_features,
    stability,
    standardise,
    train_branches,
)
from server.study import Study

Run = Callable[[Study, Coordinator], Study]

RUNS: dict[str, Run] = {
    "hello": hello.run,
    "describe_cohort": describe_cohort.run,
    "discretise": discretise.run,
    "stability": stability.run,
    "standardise": standardise.run,
    "select_features": select_features.run,
    "clinical_model": clinical_model.run,
    "train_branches": train_branches.run,
    "embed": embed.run,
    "fuse": fuse.run,
    "evaluate": evaluate.run,
    "explain": explain.run,
    "external_evaluate": external_evaluate.run,
}
