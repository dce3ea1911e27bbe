"""Every objective with the clauses of the contract that it cannot keep; a new one is a line here."""

from tfkd.datafree import objectives

OBJECTIVES = {
    "one hot": (objectives.OneHot(0.5), ()),
    "entropy": (objectives.Entropy(0.5), ()),
    "class balance": (objectives.ClassBalance(2.0), ()),
    "activation": (objectives.Activation(0.1), ()),
    "batch statistics": (objectives.BatchStatistics(0.3), ()),
    "running statistics": (objectives.BatchStatistics(0.3, momentum=0.5), ()),
    "statistics of images": (objectives.BatchStatistics(0.3, "per_image"), ()),
    "adversarial": (objectives.Adversarial(0.7), ()),
    # Its gradient jumps where a class changes.
    "adversarial by kl": (objectives.Adversarial(0.7, "kl", only_where_agreeing=True), ("gradient",)),
    "adversarial by jsd": (objectives.Adversarial(0.7, "jsd", 3.0), ()),
    "feature alignment": (
        objectives.FeatureAlignment(1.0, teacher_layer="relu1", student_layer="relu1"),
        (),
    ),
    # Its gradient stops at one of the two views, and XLA draws others.
    "contrastive": (
        objectives.ContrastiveInversion(0.5, remembered=16, compared=4, dimension=6),
        ("gradient", "compiled"),
    ),
    "total variation": (objectives.TotalVariation(0.01), ()),
    "rough": (objectives.TotalVariation(0.01, target=0.2), ()),
    "l2": (objectives.L2(0.1), ()),
    "pixel statistics": (objectives.PixelStatistics(0.1), ()),
    "patch similarity": (objectives.PatchSimilarity(0.3), ()),
    "token statistics": (objectives.TokenStatistics(0.3, pictures=16), ()),
}
# Those that are about attention or its blocks, which the other teacher does not have.
OF_TRANSFORMERS = ("patch similarity", "token statistics")
