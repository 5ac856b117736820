/**
 * The stack machine's decoder, shared by its instructions and its tensor operations.
 *
 * Errors are sticky: the first one is kept, and from then on everything reads as zero,
 * so that an operation is decoded whole and judged once.
 */
#ifndef KM_VM_H
#define KM_VM_H

#include "op.h"

/** What is being decoded. */
struct km_vm {
    struct km_state *state;
    struct km_reader reader; /**< the function's code */
    enum kmodel_status status;
};

/** Keeps the first error. */
void km_fail(struct km_vm *vm, enum kmodel_status status);

/** Fails with `status` unless the condition holds. */
void km_require(struct km_vm *vm, bool condition, enum kmodel_status status);

/** Pops a slot; its kind is checked by the functions below. */
struct km_value km_pop(struct km_vm *vm);
int32_t km_pop_integer(struct km_vm *vm);
struct km_value km_pop_address(struct km_vm *vm);
struct km_padding km_pop_padding(struct km_vm *vm);

/** Pops a float; an integer 0, whose bits are those of 0.0, stands for it too. */
float km_pop_float(struct km_vm *vm);

/** Reads the number of a shape register and returns it; never NULL. */
const struct km_register *km_read_register(struct km_vm *vm);

/** The shape register of a number; fails if it was never set. */
const struct km_register *km_register_at(struct km_vm *vm, uint32_t number);

/** Where tensors may be written and not only read. */
enum km_access { KM_READ, KM_WRITE };

/**
 * Makes a view of `shape` with these strides at an address, and checks that all of it
 * lies within the memory there, aligned and, for KM_WRITE, writable.
 */
void km_make_view(struct km_vm *vm, struct km_view *view, struct km_value address,
                  uint8_t type, const uint32_t *shape, uint32_t rank,
                  const struct km_register *strides, enum km_access access);

/** Copies a register as a shape: every dimension at least 1. */
uint32_t km_as_shape(struct km_vm *vm, const struct km_register *value,
                     uint32_t shape[KMODEL_MAX_RANK]);

/** Decodes tensor function `id` and, while the model runs, executes it. */
void km_tensor_op(struct km_vm *vm, uint16_t id);

#endif
