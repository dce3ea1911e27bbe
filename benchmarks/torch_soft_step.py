"""The training step with soft targets in eager PyTorch, for comparison."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

TEMPERATURE = 4.0


class Block(nn.Module):
    """Two convolutions with a shortcut, as in `tfkd.students.resnet`."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *normalized(channels, width, 3, stride), nn.ReLU(), *normalized(width, width, 3, 1)
        )
        same = stride == 1 and channels == width
        self.shortcut = nn.Identity() if same else nn.Sequential(*normalized(channels, width, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.main(x) + self.shortcut(x))


def normalized(channels: int, width: int, size: int, stride: int) -> list[nn.Module]:
    """A convolution and its batch normalization."""
    return [
        nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(width),
    ]


def resnet(depth: int) -> nn.Module:
    """The network of `tfkd.students.resnet`, for 10 classes."""
    blocks, channels = [], 16
    for width in (16, 32, 64):
        for i in range((depth - 2) // 6):
            blocks.append(Block(channels, width, 2 if width > 16 and i == 0 else 1))
            channels = width
    stem = [*normalized(3, 16, 3, 1), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def soft_step(batch_size: int, half: bool) -> tuple[Callable[[], None], Callable[[], None]]:
    """A step of a ResNet-8 with a ResNet-20 as teacher and with labels, with Adam, on one batch.

    Args:
        batch_size: images in the batch.
        half: whether networks compute in bfloat16, with autocast.

    Returns:
        The step, and a function that waits for the device.
    """
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    layout = torch.channels_last
    teacher, student = (resnet(depth).to(device, memory_format=layout) for depth in (20, 8))
    teacher.eval().requires_grad_(False)
    optimizer = torch.optim.Adam(student.parameters())
    images = torch.rand(batch_size, 3, 32, 32, device=device).contiguous(memory_format=layout)
    labels = torch.randint(0, 10, (batch_size,), device=device)

    def step():
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            wanted, answered = teacher(images).float(), student(images).float()
        soft = functional.kl_div(
            functional.log_softmax(answered / TEMPERATURE, 1),
            functional.log_softmax(wanted / TEMPERATURE, 1),
            reduction="batchmean",
            log_target=True,
        )
        loss = TEMPERATURE**2 * soft + functional.cross_entropy(answered, labels)
        optimizer.zero_grad()
        (loss / 2).backward()
        optimizer.step()

    return step, torch.cuda.synchronize if cuda else lambda: None
