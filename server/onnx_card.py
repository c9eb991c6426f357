"""What the input of a network in another program must be, and what its outputs mean, as JSON."""

from typing import Any

from shared.branches import Branch25D, Network
from shared.bundle_file import BundleFile
from shared.networks import EMBEDDING_WIDTH, input_shape, input_stacks
from shared.research_use import USE

FORMAT = 1
INPUT, EMBEDDING, LOGIT = "image", "embedding", "logit"
VALUES = (
    "Float32. Image channels: HU clipped to window_hu and scaled linearly to [-1, 1]; beyond the "
    "field of view -1. Mask channels: the tumour's mask, 0 to 1; beyond the field of view 0. Both "
    "interpolated linearly, straight from the stored voxels of the channel's phase."
)
AXES = "x runs to the patient's left, y to posterior, z to superior (LPS)."
FLOAT32 = "The file computes in float32, as the sites did."
BFLOAT16 = (
    "The file computes in float32. Sites whose processor or GPU can scored patients in bfloat16, "
    "which differs by 1 to 2 % of the largest value; others in float32."
)
CENTRE_3D = "The patch is centred on the tumour's centroid, in each phase by its own mask."


def card_of(found: BundleFile, network: Network) -> dict[str, Any]:
    """Everything that a program must know to use a network's file.

    Nothing in it is of a patient.
    """
    study, bundle, branch = found.study, found.bundle, network.branch
    return {
        "format": FORMAT,
        "use": USE,
        "synthetic": found.maker.synthetic,
        "study": {"name": study.name, "title": study.title},
        "bundle_hash": bundle.hash(),
        "trifed": found.maker.trifed,
        "network": network.name,
        "network_hash": bundle.network_hashes[network.name],
        "architecture": branch.network,
        "kind": branch.kind,
        "branch": branch.name,
        "input": {
            "name": INPUT,
            "shape": ["batch", *input_shape(network)],
            "axes": axes_of(network),
            "directions": AXES,
            "channels": channels_of(network),
            "window_hu": list(study.preprocess.window_hu),
            "values": VALUES,
            **geometry_of(network),
        },
        "outputs": outputs_of(found, network),
        "precision": FLOAT32 if branch.training.precision == "fp32" else BFLOAT16,
    }


def axes_of(network: Network) -> list[str]:
    """What each axis of the input counts."""
    stacks = ["stack"] if input_stacks(network) > 1 else []
    flat = isinstance(network.branch, Branch25D)
    return ["patient", *stacks, "channel", *(("y", "x") if flat else ("z", "y", "x"))]


def channels_of(network: Network) -> list[dict[str, Any]]:
    """What each channel holds, in order: the slices of the first phase, then of the second ...

    With a mask channel the masks follow in the same order.
    """
    branch = network.branch
    offsets = (
        [{"slice_offset_mm": mm} for mm in branch.slice_offsets_mm]
        if isinstance(branch, Branch25D)
        else [{}]
    )
    return [
        {"holds": held, "phase": phase, **offset}
        for held in ("image", "mask")[: 1 + branch.mask_channel]
        for phase in network.phases
        for offset in offsets
    ]


def geometry_of(network: Network) -> dict[str, Any]:
    """Where the points of the input lie; spacing in the order of the last axes."""
    branch = network.branch
    if not isinstance(branch, Branch25D):
        return {"spacing_mm": list(branch.spacing_mm), "centre": CENTRE_3D}
    spacing = list(branch.spacing_mm) if branch.spacing_mm else None
    return {
        "spacing_mm": spacing,
        "roi_margin_mm": branch.roi_margin_mm,
        "stack_offsets_mm": list(branch.stack_offsets_mm),
        "centre": _centre(branch),
    }


def _centre(branch: Branch25D) -> str:
    """How a stack's slices and field are found, in words."""
    tumour = "tumour's centroid" if branch.roi_margin_mm is None else "middle of the tumour's box"
    field = (
        ""
        if branch.roi_margin_mm is None
        else " Pixels are square: the shorter side of the field spans the longer side of the "
        "tumour's box in its largest slice, with roi_margin_mm on either side."
    )
    return (
        "A stack's middle is the slice with the largest tumour area, moved by its offset along z "
        "but not beyond the tumour's first or last slice; its slices lie at slice_offset_mm from "
        "there, at most at the volume's edge. All slices of a stack are centred on the "
        f"{tumour} in the slice with tumour that is nearest to the stack's middle, in each phase "
        f"by its own mask.{field}"
    )


def outputs_of(found: BundleFile, network: Network) -> dict[str, Any]:
    """What the two outputs are, and the frozen threshold of the branch that they belong to."""
    study, branch = found.study, network.branch
    endpoint = study.endpoint
    pooled = ""
    if isinstance(branch, Branch25D) and branch.n_stacks > 1:
        pooled = f", pooled over the stacks ({branch.pooling})"
    several = (
        f" The branch has a network for each phase: its logit is the mean over the phases that a "
        f"patient has ({', '.join(study.phases)})."
        if branch.phases == "separate"
        else ""
    )
    return {
        EMBEDDING: {
            "shape": ["batch", EMBEDDING_WIDTH[branch.network]],
            "holds": f"The vectors before the last layer{pooled}.",
        },
        LOGIT: {
            "shape": ["batch"],
            "holds": f"The logit that {endpoint.name} is {' or '.join(endpoint.positive)}, against "
            f"{' or '.join(endpoint.negative)}: probability = 1 / (1 + exp(-logit)).{several} It "
            "is the branch's alone, without clinical predictors, radiomics and the fusion layer.",
            "branch_threshold": found.bundle.thresholds.get(branch.name),
        },
    }
