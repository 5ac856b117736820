"""What the chip has, in numbers. It imports nothing, so that programs start soon."""

MIB = 1 << 20

SRAM = 6 * MIB
"""General-purpose memory, which holds the kmodel and its working memory."""

KPU_RAM = 2 * MIB
"""The KPU's own memory, for feature maps."""

WEIGHT_LOADS = 64
"""A KPU layer's counter of weight loads has six bits; nncase lets it wrap."""
