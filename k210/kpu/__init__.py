"""What the KPU computes, bit for bit: one layer at a time.

`Layer` holds a layer's parameters. `run` computes it on a dense map, `RamLayer` on maps
in KPU RAM, both in C; `plain.run` is the same in numpy, slow and readable, to check
them with. `upload` and `download` bring maps into KPU RAM and out of it.
"""

from k210.kpu.fast import RamLayer, download, prepare, run, upload
from k210.kpu.layer import Layer

__all__ = ["Layer", "RamLayer", "download", "prepare", "run", "upload"]
