/**
 * A decoded tensor operation of the stackvm module, and the kernels that run it.
 *
 * Facts: nncase 1.9's op_reader.h and its reference kernels, whose order of floating
 * point operations is kept, so that results equal those of nncase's simulator.
 */
#ifndef KM_OP_H
#define KM_OP_H

#include "model.h"

/** Tensor functions, with nncase's numbers. */
enum km_op_id {
    KM_BINARY = 0x01,
    KM_CALL = 0x03,
    KM_CONV2D = 0x06,
    KM_COPY = 0x09,
    KM_DEQUANTIZE = 0x0B,
    KM_LUT1D = 0x10,
    KM_PAD = 0x13,
    KM_QUANTIZE = 0x14,
    KM_REDUCE = 0x17,
    KM_REDUCE_WINDOW2D = 0x1A,
    KM_RESIZE_IMAGE = 0x1B,
    KM_SLICE = 0x1E,
    KM_SOFTMAX = 0x1F,
    KM_TRANSPOSE = 0x24,
};

/** `mode` of binary. */
enum km_binary { KM_ADD, KM_SUB, KM_MUL, KM_DIV, KM_MIN, KM_MAX, KM_POW };

/** `mode` of reduce and reduce_window2d. */
enum km_reduce { KM_REDUCE_MEAN, KM_REDUCE_MIN, KM_REDUCE_MAX, KM_REDUCE_SUM };

/** `mode` of pad. */
enum km_pad { KM_PAD_CONSTANT, KM_PAD_REFLECT, KM_PAD_SYMMETRIC, KM_PAD_EDGE };

/** `mode` of resize_image. */
enum km_resize { KM_BILINEAR, KM_NEAREST };

/** One axis of a sliding window. */
struct km_window {
    int32_t before; /**< padding before the input */
    uint32_t filter;
    uint32_t stride;
    uint32_t dilation;
};

/** An operation; which fields mean something depends on `id`. */
struct km_op {
    uint16_t id;
    uint8_t mode;
    struct km_view in[3]; /**< conv2d: input, weights, bias; binary: a, b */
    uint32_t in_count;
    struct km_view out;
    float low, high;   /**< clamp of the result */
    float scale, bias; /**< quantize, dequantize; scale is softmax's beta */
    float init;        /**< reduce, reduce_window2d */
    uint8_t fill[8];   /**< pad: the bytes of an element */
    uint32_t axis;     /**< softmax */
    uint32_t reduced;  /**< reduce: a bit per axis */
    bool align_corners, half_pixel;
    uint32_t groups;
    struct km_window window[2];                 /**< height, width */
    struct km_padding padding[KMODEL_MAX_RANK]; /**< pad */
    const struct km_register *begins, *steps;   /**< slice */
    const struct km_register *perm;             /**< transpose */
    uint64_t work;
    uint32_t *memo; /**< quantize: room for KM_MEMO entries */
};

void km_copy(const struct km_op *op);
void km_transpose(const struct km_op *op);
void km_slice(const struct km_op *op);
void km_pad(const struct km_op *op);
void km_dequantize(const struct km_op *op);
void km_quantize(const struct km_op *op);
void km_lut1d(const struct km_op *op);
void km_binary(const struct km_op *op);
void km_reduce(const struct km_op *op);
void km_softmax(const struct km_op *op);
void km_conv2d(const struct km_op *op);
void km_reduce_window2d(const struct km_op *op);
void km_resize_image(const struct km_op *op);

#endif
