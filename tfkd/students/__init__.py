"""Student networks: a zoo, and scaled versions of a teacher's architecture."""

from tfkd.students._depth import scale_depth
from tfkd.students._dropout import without_dropout
from tfkd.students._from_layers import from_layers
from tfkd.students._inheritance import kept_channels
from tfkd.students._kernels import with_kernel_size
from tfkd.students._lenet import lenet5, lenet5_half
from tfkd.students._noise import StochasticDepth, with_noise, without_noise
from tfkd.students._resnet import resnet
from tfkd.students._scaling import scale_width
from tfkd.students._sparsity import from_sparsity
from tfkd.students._spread_layers import spread_layers
from tfkd.students._up_to_layer import up_to_layer
from tfkd.students._wide_resnet import wide_resnet

# After the networks, which it looks up by name.
from tfkd.students._by_name import network_named, student_named  # isort: skip

__all__ = [
    "StochasticDepth",
    "from_layers",
    "from_sparsity",
    "kept_channels",
    "lenet5",
    "lenet5_half",
    "network_named",
    "resnet",
    "scale_depth",
    "scale_width",
    "spread_layers",
    "student_named",
    "up_to_layer",
    "wide_resnet",
    "with_kernel_size",
    "with_noise",
    "without_dropout",
    "without_noise",
]
