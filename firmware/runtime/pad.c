/* Padding, cropping (negative padding) and spreading (interior padding). */
#include "loop.h"
#include "op.h"

#include <string.h>

typedef uint64_t __attribute__((may_alias)) aliased_u64;

/*
 * The input index that a position of a padded axis shows, or -1 for the fill value.
 * Positions were checked to mirror into the input at most once.
 */
static int64_t source_index(uint8_t mode, const struct km_padding *padding,
                            uint32_t length, uint32_t position) {
    int64_t at = (int64_t)position - padding->before;
    int64_t last = (int64_t)length - 1;
    if (mode == KM_PAD_CONSTANT) {
        int64_t spread = (int64_t)padding->interior + 1;
        bool shown = at >= 0 && at <= last * spread && at % spread == 0;
        return shown ? at / spread : -1;
    }
    int64_t mirror = mode == KM_PAD_SYMMETRIC ? 1 : 0;
    if (at < 0) {
        return mode == KM_PAD_EDGE ? 0 : -at - mirror;
    }
    if (at > last) {
        return mode == KM_PAD_EDGE ? last : 2 * last - at + mirror;
    }
    return at;
}

/* Writes one element `count` times, where it can in units of 8 bytes. */
static void fill_row(const struct km_op *op, uint8_t *out, ptrdiff_t step,
                     uint32_t count) {
    uint32_t size = km_type_size(op->out.type);
    if (step == (ptrdiff_t)size) {
        uint64_t unit;
        uint32_t many = sizeof unit / size;
        uint32_t first = (uint32_t)(-(uintptr_t)out & (sizeof unit - 1)) / size;
        first = first < count ? first : count;
        km_copy_row((uint8_t *)&unit, step, op->fill, 0, size, many);
        km_copy_row(out, step, op->fill, 0, size, first);
        out += first * size, count -= first;
        for (; count >= 4 * many; count -= 4 * many, out += 4 * sizeof unit) {
            aliased_u64 *to = (aliased_u64 *)out;
            to[0] = unit, to[1] = unit, to[2] = unit, to[3] = unit;
        }
        for (; count >= many; count -= many, out += sizeof unit) {
            *(aliased_u64 *)out = unit;
        }
    }
    km_copy_row(out, step, op->fill, 0, size, count);
}

static void fill(const struct km_op *op) {
    const struct km_view *out = &op->out;
    struct km_loop loop;
    km_loop_start(&loop, out->shape, out->rank);
    km_loop_add(&loop, out->data, out->strides, km_type_size(out->type));
    km_loop_begin(&loop);
    do {
        fill_row(op, loop.at[0], loop.step[0], loop.row);
    } while (km_loop_next(&loop));
}

/* The part of an axis of the input that is seen in the output, and where. */
static void clip_axis(const struct km_op *op, uint32_t axis, struct km_view *from,
                      struct km_view *to) {
    uint32_t size = km_type_size(op->out.type);
    uint32_t length = from->shape[axis], count = to->shape[axis];
    int64_t before = op->padding[axis].before;
    uint32_t skip = before < 0 ? (uint32_t)-before : 0;
    uint32_t left = before > 0 ? (uint32_t)before : 0;
    skip = skip < length ? skip : length;
    left = left < count ? left : count;
    uint32_t seen = length - skip < count - left ? length - skip : count - left;
    from->data += (uint64_t)skip * from->strides[axis] * size;
    to->data += (uint64_t)left * to->strides[axis] * size;
    from->shape[axis] = to->shape[axis] = seen;
}

/* Short rows are many, so all is filled at once and the input laid over it. */
static void pad_constant(const struct km_op *op) {
    struct km_view from = op->in[0], to = op->out;
    bool whole = true, nothing = false;
    for (uint32_t axis = 0; axis < op->out.rank; axis++) {
        clip_axis(op, axis, &from, &to);
        whole &= to.shape[axis] == op->out.shape[axis];
        nothing |= to.shape[axis] == 0;
    }
    if (!whole) {
        fill(op);
    }
    if (!nothing) {
        km_copy_view(&from, &to);
    }
}

/* One row of the last axis, element by element. */
static void pad_row(const struct km_op *op, const uint8_t *in, uint8_t *out) {
    uint32_t size = km_type_size(op->out.type), axis = op->out.rank - 1;
    const struct km_padding *padding = &op->padding[axis];
    ptrdiff_t in_step = (ptrdiff_t)op->in[0].strides[axis] * (ptrdiff_t)size;
    ptrdiff_t step = (ptrdiff_t)op->out.strides[axis] * (ptrdiff_t)size;
    for (uint32_t i = 0; i < op->out.shape[axis]; i++, out += step) {
        int64_t at = source_index(op->mode, padding, op->in[0].shape[axis], i);
        const uint8_t *from = at < 0 ? op->fill : in + at * in_step;
        km_copy_row(out, (ptrdiff_t)size, from, (ptrdiff_t)size, size, 1);
    }
}

/* The input row that an output row shows, or NULL for a row of the fill value. */
static const uint8_t *source_row(const struct km_op *op, const uint32_t *index) {
    const struct km_view *in = &op->in[0];
    int64_t offset = 0;
    for (uint32_t axis = 0; axis + 1 < op->out.rank; axis++) {
        int64_t at =
            source_index(op->mode, &op->padding[axis], in->shape[axis], index[axis]);
        if (at < 0) {
            return NULL;
        }
        offset += at * in->strides[axis];
    }
    return in->data + offset * (int64_t)km_type_size(in->type);
}

static bool next_row(const struct km_view *view, uint32_t *index) {
    for (uint32_t axis = view->rank - 1; axis-- > 0;) {
        if (++index[axis] < view->shape[axis]) {
            return true;
        }
        index[axis] = 0;
    }
    return false;
}

/* Mirrored, repeated or spread: every row and element finds its own source. */
static void pad_by_index(const struct km_op *op) {
    const struct km_view *out = &op->out;
    uint32_t size = km_type_size(out->type);
    uint32_t index[KMODEL_MAX_RANK] = {0};
    uint32_t axis = out->rank - 1;
    do {
        uint64_t offset = 0;
        for (uint32_t i = 0; i < axis; i++) {
            offset += (uint64_t)index[i] * out->strides[i];
        }
        uint8_t *to = out->data + offset * size;
        const uint8_t *in = source_row(op, index);
        if (in != NULL) {
            pad_row(op, in, to);
        } else {
            fill_row(op, to, (ptrdiff_t)out->strides[axis] * (ptrdiff_t)size,
                     out->shape[axis]);
        }
    } while (next_row(out, index));
}

void km_pad(const struct km_op *op) {
    bool plain = op->mode == KM_PAD_CONSTANT;
    for (uint32_t axis = 0; axis < op->out.rank; axis++) {
        plain &= op->padding[axis].interior == 0;
    }
    if (plain) {
        pad_constant(op);
    } else {
        pad_by_index(op);
    }
}
