"""How far to trust a student, in sentences."""

from tfkd.export._figures import percent, score_name, score_text
from tfkd.tasks import Task

# Where nothing but synthesized inputs was there to measure on.
UNMEASURED = (
    "No real data was given to measure on, so nobody has measured how accurate it is. Agreement on "
    "synthesized inputs says that it follows its teacher there, and tends to be a poor guide to accuracy "
    "on real ones: evaluate it on some before you rely on it."
)


def trust(metrics: dict, task: Task) -> list[str]:
    """What the figures do and do not show.

    Args:
        metrics: what `metrics.json` holds.
        task: what the answers mean.

    Returns:
        Sentences for the reader who has to decide whether to use the student.
    """
    measured = metrics["evaluation_images"] is not None
    sentences = [_on_real_inputs(metrics, task) if measured else UNMEASURED]
    share = metrics["rarest_class_share"] * metrics["classes"] if task.has_classes else 1.0
    if share < 0.2:
        sentences.append(
            "The synthesized inputs cover the classes unevenly: the rarest comes up "
            f"{share:.2f} times as often as it would in an even mix. Look at how the networks compare "
            "there."
        )
    if tflite := metrics.get("tflite"):
        sentences += trust_in_file(tflite, task, "synthesized inputs")
    return sentences


def trust_in_file(tflite: dict, task: Task, judged_on: str) -> list[str]:
    """What the figures of a TFLite file say of it.

    Args:
        tflite: what `metrics.json` holds of it.
        task: what the answers mean.
        judged_on: what it was compared on, in the plural.

    Returns:
        Sentences.
    """
    agreeing = task.agreement_text(percent(tflite["agreement"]), judged_on)
    sentences = [
        f"The TFLite file and the Keras model that it was made of {agreeing}; the largest difference of an "
        f"output there is {tflite['max_difference']:.3g}."
    ]
    if tflite.get("bias_corrected"):
        before = task.agreement_text(percent(tflite["uncorrected_agreement"]), "them")
        sentences.append(
            f"Its biases make up for rounded kernels; without this correction the two would {before}."
        )
    return sentences


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
