"""Which network a student is: a zoo, and a teacher's own shape at another width or depth."""

from tfkd.students.depth import scale_depth
from tfkd.students.dropout import without_dropout
from tfkd.students.inheritance import kept_channels
from tfkd.students.lenet import lenet5, lenet5_half
from tfkd.students.resnet import resnet
from tfkd.students.scaling import scale_width
from tfkd.students.sparsity import from_sparsity
from tfkd.students.wide_resnet import wide_resnet

__all__ = [
    "from_sparsity",
    "kept_channels",
    "lenet5",
    "lenet5_half",
    "resnet",
    "scale_depth",
    "scale_width",
    "wide_resnet",
    "without_dropout",
]
