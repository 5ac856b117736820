"""Runs a kmodel on the host, bit for bit as nncase 1.9's simulator does.

The KPU's layers are computed by `k210.kpu`, the CPU's operations in numpy, floats in
the order and with the roundings of nncase's x86 kernels. Unlike nncase's simulator it
survives every kmodel that parses, and honours the strides of what a region of KPU
layers is given, as the firmware does: the simulator takes a cropped map for dense.
"""

from k210.reference.runner import Reference

__all__ = ["Reference"]
