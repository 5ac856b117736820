"""Builds the small kmodels that tests read; run as a child process.

    small_kmodels.py export DIR            writes residual.tflite and dilated.tflite
    small_kmodels.py compile TFLITE KMODEL

nncase can take its process down, prints on file descriptor 1 and leaves a file where
it stands: start it in a folder of its own.
"""

import os
import sys
from pathlib import Path
from typing import Any

SHAPE = (1, 3, 32, 32)
SAMPLES = 2


def export(folder: Path) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    keras.utils.set_random_seed(0)
    for build in (residual, dilated):
        image = keras.Input((32, 32, 3))
        model = keras.Model(image, build(image, keras.layers))
        traced = tf.function(lambda x, model=model: model(x, training=False))
        spec = tf.TensorSpec((1, 32, 32, 3), tf.float32)
        frozen = convert_variables_to_constants_v2(traced.get_concrete_function(spec))
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        (folder / f"{build.__name__}.tflite").write_bytes(converter.convert())


def residual(x: Any, layers: Any) -> Any:
    """Depthwise, stride 2 (so the CPU pads), a residual, pooling, dense, softmax."""
    x = layers.Conv2D(8, 3, padding="same", activation="relu6")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    skip = layers.Conv2D(16, 3, 2, padding="same", activation="relu6")(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu6")(skip)
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, skip]))
    return layers.Softmax()(layers.Dense(10)(x))


def dilated(x: Any, layers: Any) -> Any:
    """Unpadded (so the KPU function crops by a copy), then dilated (so it batches)."""
    x = layers.Conv2D(8, 3, activation="relu6")(x)
    x = layers.Conv2D(8, 1, activation="relu6")(x)
    x = layers.Conv2D(8, 3, padding="same", dilation_rate=2, activation="relu6")(x)
    return layers.Conv2D(8, 1, activation="relu6")(x)


def compile_kmodel(source: Path, target: Path) -> None:
    import nncase
    import numpy as np

    options = nncase.CompileOptions()
    options.target = "k210"
    options.preprocess = True
    options.input_type = "uint8"
    options.input_shape = list(SHAPE)
    options.input_layout = "NCHW"
    options.mean, options.std = [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    compiler = nncase.Compiler(options)
    compiler.import_tflite(source.read_bytes(), nncase.ImportOptions())
    images = np.random.default_rng(0).integers(0, 256, (SAMPLES, *SHAPE[1:]), np.uint8)
    calibration = nncase.PTQTensorOptions()
    calibration.samples_count = SAMPLES
    calibration.set_tensor_data(images.tobytes())
    compiler.use_ptq(calibration)
    compiler.compile()
    target.write_bytes(compiler.gencode_tobytes())


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(Path(sys.argv[2]))
    else:
        compile_kmodel(Path(sys.argv[2]), Path(sys.argv[3]))
