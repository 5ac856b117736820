/**
 * Nested loops over strided tensors: axes of length 1 dropped, axes that lie one after
 * the other in every operand merged, so that the innermost row is as long as it can be.
 */
#ifndef KM_LOOP_H
#define KM_LOOP_H

#include "model.h"

enum { KM_OPERANDS = 3 };

/** The loops; `at` points to the first element of each operand's current row. */
struct km_loop {
    uint32_t operands;
    uint32_t row; /**< length of the innermost axis */
    uint8_t *at[KM_OPERANDS];
    ptrdiff_t step[KM_OPERANDS]; /**< bytes between the elements of a row */
    uint32_t rank;               /**< axes outside the row */
    uint32_t shape[KMODEL_MAX_RANK];
    uint32_t index[KMODEL_MAX_RANK];
    ptrdiff_t outer[KM_OPERANDS][KMODEL_MAX_RANK];
};

/** Starts loops over `shape` with no operand yet. */
void km_loop_start(struct km_loop *loop, const uint32_t *shape, uint32_t rank);

/** Adds an operand with `rank` strides in elements of `size` bytes. */
void km_loop_add(struct km_loop *loop, void *data, const uint32_t *strides,
                 uint32_t size);

/** Merges what can be merged and goes to the first row. */
void km_loop_begin(struct km_loop *loop);

/** Makes rows of the longest axis where they are short; for work in any order. */
void km_loop_lengthen(struct km_loop *loop);

/** Goes to the next row; false when there is none. */
bool km_loop_next(struct km_loop *loop);

/** Copies `count` bytes, in the widest units that fit; they do not overlap. */
void km_copy_bytes(void *target, const void *source, uint32_t count);

/** Copies a row of elements of `size` bytes, `target_step` and `source_step` apart. */
void km_copy_row(uint8_t *target, ptrdiff_t target_step, const uint8_t *source,
                 ptrdiff_t source_step, uint32_t size, uint32_t count);

/** Copies `from` to `to`, both of the shape and type of `from`. */
void km_copy_view(const struct km_view *from, const struct km_view *to);

/** Copies `lines` lines of `width` bytes, `target_step` and `source_step` apart. */
void km_copy_lines(uint8_t *target, ptrdiff_t target_step, const uint8_t *source,
                   ptrdiff_t source_step, uint32_t width, uint32_t lines);

#endif
