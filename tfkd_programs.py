"""Starts tfkd's programs: what has to be settled before TensorFlow is imported.

Importing anything of `tfkd` imports TensorFlow, so this stands beside it.
"""

import ast
import difflib
import faulthandler
import importlib
import importlib.metadata
import os
import pathlib
import signal
import sys

# What `tfkd` is told to do, and the module of `tfkd.cli` that does it.
PROGRAMS = {
    "data-free": "data_free",
    "distil": "distill",
    "compress": "compress",
    "search": "search",
    "inspect": "inspect",
    "doctor": "doctor",
}
_BAD_INPUT = 2


def main() -> int:
    """Entry point of `tfkd`, which is told what to do by a word; returns its exit status."""
    word, *rest = sys.argv[1:] or ["--help"]
    if word in PROGRAMS:
        sys.argv[1:] = rest
        return _run(PROGRAMS[word])
    if word.lstrip("-") == "version":
        print(f"tfkd {importlib.metadata.version('tfkd')}")
        return 0
    if word.lstrip("-") in ("help", "h", "?"):
        print(_help())
        return 0
    near = difflib.get_close_matches(word, PROGRAMS, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    print(f"tfkd: {word!r} is not one of {', '.join(PROGRAMS)}.{meant} See tfkd --help.", file=sys.stderr)
    return _BAD_INPUT


def data_free() -> int:
    """Entry point of `tfkd-data-free`; returns its exit status."""
    return _run("data_free")


def distill() -> int:
    """Entry point of `tfkd-distill`; returns its exit status."""
    return _run("distill")


def compress() -> int:
    """Entry point of `tfkd-compress`; returns its exit status."""
    return _run("compress")


def search() -> int:
    """Entry point of `tfkd-search`; returns its exit status."""
    return _run("search")


def inspect() -> int:
    """Entry point of `tfkd-inspect`; returns its exit status."""
    return _run("inspect")


def _help():
    """All programs with what their modules say they do, which are read: importing them takes seconds."""
    folder = pathlib.Path(__file__).parent / "tfkd" / "cli"
    lines = ["tfkd: knowledge distillation with and without data.", "", "Usage: tfkd PROGRAM [flags]", ""]
    for word, module in PROGRAMS.items():
        said = ast.get_docstring(ast.parse((folder / f"{module}.py").read_text(encoding="utf-8"))) or ""
        lines.append(f"  {word:<10} {said.partition(': ')[2]}")
    return "\n".join(
        [*lines, "", "tfkd PROGRAM --help lists the program's flags; tfkd --version is the version."]
    )


def _run(module):
    _open_standard_streams()
    # A crash in C++ code says where, on a standard error that nobody redirects.
    faulthandler.enable(os.fdopen(os.dup(2), "w"))
    loud = any(word.lstrip("-").partition("=")[0] in ("v", "verbosity") for word in sys.argv[1:])
    if not loud:
        # TensorFlow's C++ code reads this when it is loaded, long before there are flags.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return _imported(f"tfkd.cli.{module}", loud).run()


def _imported(module, loud):
    """The module, imported without a word of TensorFlow's on standard error, unless `loud`."""
    seen = os.dup(2)

    def end(number, frame):
        # Half imported libraries would answer an exception with a page of text.
        os.write(seen, b"\nInterrupted before training began: start the run again.\n")
        os._exit(128 + number)

    signals = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.signal(each, end) for each in signals}
    if not loud:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
    try:
        return importlib.import_module(module)
    finally:
        os.dup2(seen, 2)
        os.close(seen)
        for each, handler in before.items():
            signal.signal(each, handler)


def _open_standard_streams():
    """Opens closed standard streams to nothing, or the next file that is opened would be one of them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
