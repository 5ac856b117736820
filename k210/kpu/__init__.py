"""What the KPU computes, bit for bit: one layer at a time.

`Layer` holds a layer's parameters. `run` computes it on a dense map, `RamLayer` on maps
in KPU RAM, both in C; `plain.run` is the same in numpy, slow and readable, to check
them with. `upload` and `download` bring maps into KPU RAM and out of it. Who runs the
same layer many times prepares a `Kernel` and the `Map`s it works on.
"""

from k210.kpu.fast import Kernel, Map, RamLayer, download, prepare, run, upload
from k210.kpu.layer import Layer

__all__ = ["Kernel", "Layer", "Map", "RamLayer", "download", "prepare", "run", "upload"]
