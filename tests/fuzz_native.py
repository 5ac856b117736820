"""Loads and runs damaged kmodels in the runtime built for this machine.

    python tests/fuzz_native.py COUNT SEED KMODEL...

An access outside the runtime's memory ends the process. Prints, as JSON, how often each
status was seen, of loading and of running; "refused" are those that the parser accepts.
"""

import collections
import json
import sys
from pathlib import Path

import mutants
import native_runtime

from k210 import kmodel

WORK = 3_000_000
"""Steps above which an accepted kmodel is not run: it would only take time."""


def fuzz(data: bytes, count: int, seed: int) -> collections.Counter[str]:
    """How often each outcome was seen in `count` mutants of a kmodel."""
    seen: collections.Counter[str] = collections.Counter()
    for mutant in mutants.mutants(data, count, seed):
        model = native_runtime.LoadedModel(mutant)
        seen[f"load {model.status}"] += 1
        if model.status == 0:
            seen[_run(model)] += 1
        elif _parses(mutant):
            seen[f"refused {model.status}"] += 1
    return seen


def _parses(mutant: bytes) -> bool:
    try:
        kmodel.parse(mutant)
    except kmodel.KmodelError:
        return False
    return True


def _run(model: native_runtime.LoadedModel) -> str:
    memory = model.model.memory
    needed = memory.working + memory.inputs + memory.outputs
    if model.model.work > WORK or needed > 64 << 20:
        return "not run"
    samples = [bytes(info.size) for info in model.tensors()[0]]
    return f"run {model.infer(samples)[0]}"


def main() -> None:
    """Fuzz as the command line says."""
    count, seed, *names = sys.argv[1:]
    seen: collections.Counter[str] = collections.Counter()
    for number, name in enumerate(names):
        data = Path(name).read_bytes()
        seen += fuzz(data, -(-int(count) // len(names)), int(seed) + number)
    print(json.dumps(dict(sorted(seen.items()))))


if __name__ == "__main__":
    main()
