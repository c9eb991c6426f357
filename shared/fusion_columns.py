"""What the fusion layer sees of a patient, by name."""

from shared.config import Study, networks


def fusion_names(study: Study) -> tuple[str, ...]:
    """The fusion layer's columns, in order."""
    wanted, names = study.fusion.inputs, list[str]()
    if "embeddings" in wanted and study.fusion.takes_scores:
        names += [f"{branch.name}_score" for branch in study.branches]
    elif "embeddings" in wanted:
        for network in networks(study):
            names += [f"{network.name}_{i + 1}" for i in range(study.embedding.dimension)]
    if "radiomics_score" in wanted:
        names.append("radiomics_score")
    if "clinical" in wanted:
        names += study.clinical.predictors
    return tuple(names)
