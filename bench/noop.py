"""What an idle ``doit deploy`` costs, against a doit file with ten trivial tasks.

Both are measured side by side, alternating, on this checkout's deployed project. The
peer's ten tasks are up to date too, each with one file as dependency and one as
target, so that doit has the same kind of work to do.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOIT = Path(sys.executable).parent / "doit"
ROUNDS = 15
LIMIT = 2.5

PEER = """
DOIT_CONFIG = {"backend": "json", "dep_file": ".doit.db.json"}


def task_trivial():
    for i in range(10):
        yield {
            "name": str(i),
            "actions": [f"cp in{i} out{i}"],
            "file_dep": [f"in{i}"],
            "targets": [f"out{i}"],
        }
"""


def make_peer(folder: Path) -> None:
    """A folder with ten trivial tasks, all of them run once."""
    (folder / "dodo.py").write_text(PEER)
    for i in range(10):
        (folder / f"in{i}").write_text("x")
    subprocess.run([DOIT], cwd=folder, check=True, capture_output=True)


def seconds(command: list[str], folder: Path) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> int:
    """Measure, print the ratio; status 1 where it is over the limit."""
    ours, peers = [], []
    command = [str(DOIT), "deploy"]
    ready = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ready.returncode:
        print("deploy the default project first: make deploy", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_peer(folder)
        for _ in range(ROUNDS):
            peers.append(seconds([str(DOIT)], folder))
            ours.append(seconds(command, ROOT))
    mine, theirs = statistics.median(ours), statistics.median(peers)
    ratio = mine / theirs
    print(f"doit deploy, nothing to do: {mine:.3f} s")
    print(f"doit, ten trivial tasks:    {theirs:.3f} s")
    print(f"ratio {ratio:.2f}, at most {LIMIT} wanted")
    result = {"deploy_s": mine, "trivial_s": theirs, "ratio": ratio, "limit": LIMIT}
    print(f"RESULT {json.dumps(result)}")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
