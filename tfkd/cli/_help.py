"""The text of `--help`."""

import platform
from collections.abc import Iterable, Mapping, Sequence

import keras
import tensorflow as tf
from absl import flags

import tfkd
from tfkd.cli._endings import MEANINGS
from tfkd.cli._flag_group import FlagGroup

_WIDTH = 80
_COMMON = {
    "flagfile": "a file with flags, one per line",
    "verbosity": "0 or 1: also show the logs of TensorFlow and the converter",
    "help": "show this; --helpfull adds the flags of all libraries",
    "version": "show the version",
}


def version(name: str) -> str:
    """The versions of a program and of its main dependencies."""
    return (
        f"{name} {tfkd.__version__} (TensorFlow {tf.__version__}, Keras {keras.__version__}, "
        f"Python {platform.python_version()})"
    )


def short_help(
    name: str,
    purpose: str,
    needed: Sequence[str],
    example: str,
    groups: Iterable[FlagGroup],
    positional: str | None = None,
) -> str:
    """Usage, an example, the flags by group and the exit statuses of a program, wrapped to 80 columns."""
    words = [flag.upper() if flag == positional else f"--{flag}=..." for flag in needed]
    usage = " ".join([name, *words, "[flags]"])
    parts = [
        _wrapped(f"{name}: {purpose}"),
        f"Usage: {usage}",
        f"Example:\n  {example}",
        *(_section(group.name, dict(map(described, group.flags))) for group in groups),
        _section("common", {f"--{flag}": text for flag, text in _COMMON.items()}),
        _section("exit status", MEANINGS),
    ]
    return "\n\n".join(parts)


def full_help(short: str, own: str) -> str:
    """The short help, and the flags of all other modules.

    Args:
        short: the short help.
        own: the module that has the program's flags.
    """
    modules = sorted(set(flags.FLAGS.flags_by_module_dict()) - {own})
    return "\n".join([short, *(flags.FLAGS.module_help(module) for module in modules)])


def _section(title: str, entries: Mapping[str, str]) -> str:
    lines = [f"{title[0].upper()}{title[1:]}:"]
    for name, text in entries.items():
        lines.append(f"  {name}")
        lines.append(_wrapped(text, "      "))
    return "\n".join(lines)


def described(flag: flags.Flag) -> tuple[str, str]:
    """A flag as typed, and its help with the default."""
    default = "" if flag.default in (None, False, []) else f"; default: {flag.default_as_str}"
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    return name, f"{' '.join(flag.help.split())}{default}"


def _wrapped(text: str, indent: str = "") -> str:
    return flags.text_wrap(text, _WIDTH, indent)
