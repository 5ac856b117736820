/**
 * Decoding tensor operations: what most of them have in common.
 */
#ifndef KM_TENSOR_OPS_H
#define KM_TENSOR_OPS_H

#include "vm.h"

/** What nearly every operation has. */
struct km_common {
    uint8_t in_type, out_type;
    uint32_t rank;
    uint32_t shape[KMODEL_MAX_RANK];
    const struct km_register *in_strides, *out_strides;
};

/** Reads it; `casts` says whether the output has a type of its own. */
struct km_common km_read_common(struct km_vm *vm, bool casts);

/** Makes the views of an operation's input and output. */
void km_set_in_out(struct km_vm *vm, struct km_op *op, const struct km_common *common,
                   struct km_value in, struct km_value out, const uint32_t *out_shape,
                   uint32_t out_rank);

/** Refuses any element type but one. */
void km_require_type(struct km_vm *vm, uint8_t type, enum kmodel_type expected);

void km_decode_conv2d(struct km_vm *vm, struct km_op *op);
void km_decode_reduce_window2d(struct km_vm *vm, struct km_op *op);
void km_decode_resize_image(struct km_vm *vm, struct km_op *op);

#endif
