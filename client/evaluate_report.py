"""An evaluation in lines for a terminal."""

from client.evaluate import Evaluation
from shared.metrics import Estimate, performance
from shared.summary import Summary


def evaluation_lines(found: Evaluation) -> list[str]:
    """What was found, how often the patients were looked at, and what the file lets leave."""
    result, reply = found.result, found.result.reply
    level = found.confidence_level
    head = f"model (intervals: {level * 100:g}%)"
    width = max(len(head), *(len(model) for model in reply.summaries)) + 2
    columns = ("AUC", "sensitivity", "specificity", "Brier", "calibration slope")
    lines = [
        f"bundle {result.bundle_hash} of the study {result.study}",
        f"cohort {reply.cohort} of {result.site}, {reply.description.n_cases} patients",
        head.ljust(width) + "".join(column.ljust(21) for column in columns).rstrip(),
        *(model.ljust(width) + _row(summary, level) for model, summary in reply.summaries.items()),
        looks_line(reply.looks),
    ]
    if found.told_before:
        lines.append(
            f"This bundle was evaluated on this cohort on {reply.date}: this is the first answer, "
            "nothing was computed."
        )
    if result.synthetic:
        lines.append("Made-up patients: synthetic data.")
    return lines


def looks_line(n: int) -> str:
    """How often the patients were looked at, and what that means."""
    if n == 1:
        return "These external patients were looked at once."
    return (
        f"These external patients were looked at {n} times; a model that was chosen by such "
        "numbers is not tested by them."
    )


def _row(summary: Summary, level: float) -> str:
    found = performance(summary, level)
    cells = [_estimate(found.auc), _estimate(found.sensitivity), _estimate(found.specificity)]
    cells += [f"{found.brier:.3f}", f"{summary.calibration_slope:.2f}"]
    return "".join(cell.ljust(21) for cell in cells).rstrip()


def _estimate(found: Estimate) -> str:
    return f"{found.value:.3f} ({found.low:.3f}-{found.high:.3f})"
