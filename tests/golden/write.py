"""Rewrites golden curves: `python -m tests.golden.write [NAME ...]`; without names, all of them."""

import json
import sys
import time

from tests.golden import curves


def main(names: list[str]) -> None:
    """Writes the curves of recipes and schemes of these names; those of others stay."""
    for kind, (every, run) in curves.KINDS.items():
        place = curves.PLACE / f"{kind}.json"
        kept = json.loads(place.read_text()) if place.exists() else {}
        for name in [each for each in every if not names or each in names]:
            start = time.process_time()
            kept[name] = {figure: [float(f"{v:.6g}") for v in row] for figure, row in run(name).items()}
            print(f"{kind}: {name}, {time.process_time() - start:.1f} s of a core", flush=True)
            _write(place, {each: kept[each] for each in every if each in kept})


def _write(place, kept):
    """A curve a line, so that changes can be read."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(curves)}" for name, curves in kept.items())
    place.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
