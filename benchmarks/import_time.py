"""Additional time of `import tfkd` over `import keras, tensorflow`, medians over fresh processes."""

import statistics
import subprocess
import sys

ROUNDS = 7
PROGRAM = (
    "import time; t = time.perf_counter(); import keras, tensorflow; {}; print(time.perf_counter() - t)"
)


def seconds(extra: str) -> float:
    """Import time in a fresh process."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(extra)], capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    pairs = [(seconds("pass"), seconds("import tfkd")) for _ in range(ROUNDS)]
    without, with_tfkd = (statistics.median(values) for values in zip(*pairs, strict=True))
    print(f"keras and tensorflow {without:.2f} s, with tfkd {with_tfkd:.2f} s")
    print(f"tfkd adds {statistics.median(b - a for a, b in pairs):.3f} s")
