"""How far to trust a student, in sentences."""

from tfkd.export._figures import percent, score_name, score_text
from tfkd.tasks import Task


def trust(metrics: dict, task: Task) -> list[str]:
    """What the figures do and do not show.

    Args:
        metrics: what `metrics.json` holds.
        task: what the answers mean.

    Returns:
        Sentences for the reader who has to decide whether to use the student.
    """
    measured = metrics["evaluation_images"] is not None
    sentences = [_on_real_inputs(metrics, task) if measured else _without_data()]
    share = metrics["rarest_class_share"] * metrics["classes"] if task.has_classes else 1.0
    if share < 0.2:
        sentences.append(
            "The synthesized inputs cover the classes unevenly: the rarest comes up "
            f"{share:.2f} times as often as it would in an even mix. Look at how the networks compare "
            "there."
        )
    if tflite := metrics.get("tflite"):
        agreeing = task.agreement_text(percent(tflite["agreement"]), "synthesized inputs")
        sentences.append(
            f"The TFLite file and the student {agreeing}; the largest difference of an output there is "
            f"{tflite['max_difference']:.3g}."
        )
        if tflite.get("bias_corrected"):
            before = task.agreement_text(percent(tflite["uncorrected_agreement"]), "them")
            sentences.append(
                f"Its biases make up for rounded kernels; without this correction the two would {before}."
            )
    return sentences


def _without_data():
    return (
        "No real data was given, so nobody has measured how accurate the student is. Agreement on "
        "synthesized inputs says that it follows the teacher there, and tends to be a poor guide to "
        "accuracy on real ones: before relying on the student, evaluate it on some."
    )


def _on_real_inputs(metrics, task):
    teacher, student = metrics["teacher"], metrics["student"]
    if student["accuracy"] is None:
        compared = (
            f"has a {score_name(student)} of {score_text(student)}, the teacher {score_text(teacher)}"
        )
    else:
        lost = teacher["accuracy"] - student["accuracy"]
        compared = f"is {abs(lost) * 100:.2f} points {'below' if lost >= 0 else 'above'} the teacher"
    kept = "student that was kept" if metrics["stopped"] else "last epoch"
    agreeing = task.agreement_text(percent(metrics["agreement"]), "them")
    return (
        f"On {metrics['evaluation_images']:,} real inputs, used only to measure, the student {compared}; "
        f"both {agreeing}. Nothing was chosen by these figures: they are those of the {kept}."
    )
