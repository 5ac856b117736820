"""Refuse, by name, what neither nncase nor the KPU can compute.

The list is that of nncase 1.9's TFLite importer, without what it takes and miscompiles.
"""

from k210.errors import ModelError
from stages.normalize.graph import Graph, Node

Changes = list[tuple[Node, str]]

MAX_CHANNELS = 1024
MAX_HEIGHT, MAX_WIDTH = 256, 512

SUPPORTED = frozenset(
    """
    ABS ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND CAST
    CEIL CONCATENATION CONV_2D COS DEPTHWISE_CONV_2D DIV EQUAL EXP EXPAND_DIMS
    FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER
    GREATER_EQUAL HARD_SWISH L2_NORMALIZATION LEAKY_RELU LESS LESS_EQUAL LOG
    LOG_SOFTMAX LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG
    NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU REDUCE_MAX REDUCE_MIN REDUCE_PROD
    RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR ROUND RSQRT SIN
    SLICE SOFTMAX SPACE_TO_BATCH_ND SPLIT SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE
    STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE
    """.split()  # noqa: SIM905
)
"""Operators that nncase takes."""


def refuse(graph: Graph) -> Changes:
    """Change nothing.

    Raises:
        ModelError: an operator is unknown to nncase, or a convolution is too large.
    """
    for node in graph.nodes:
        if node.kind not in SUPPORTED:
            raise ModelError(
                f"{node.name!r} is a {node.kind}, which nncase does not support; "
                "replace that operator"
            )
        if node.convolves:
            _require_size(node)
    return []


def _require_size(node: Node) -> None:
    _, height, width, channels = node.source.shape
    if height > MAX_HEIGHT or width > MAX_WIDTH:
        raise ModelError(
            f"{node.name!r} convolves a map of {height}×{width} and the KPU takes at "
            f"most {MAX_HEIGHT}×{MAX_WIDTH}; use smaller pictures"
        )
    if channels > MAX_CHANNELS and height * width > 1:
        raise ModelError(
            f"{node.name!r} convolves {channels} channels and the KPU takes at most "
            f"{MAX_CHANNELS}; use fewer channels in the layer before it"
        )
