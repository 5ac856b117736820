/* Padding, cropping (negative padding) and spreading (interior padding). */
#include "loop.h"
#include "op.h"

#include <string.h>

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

static void fill_row(const struct km_op *op, uint8_t *out, ptrdiff_t step,
                     uint32_t count) {
    uint32_t size = km_type_size(op->out.type);
    for (uint32_t i = 0; i < count; i++, out += step) {
        km_copy_row(out, (ptrdiff_t)size, op->fill, (ptrdiff_t)size, size, 1);
    }
}

/* One row of the last axis, whose outer axes lie within the input. */
static void pad_row(const struct km_op *op, const uint8_t *in, uint8_t *out) {
    uint32_t size = km_type_size(op->out.type), axis = op->out.rank - 1;
    const struct km_padding *padding = &op->padding[axis];
    uint32_t length = op->in[0].shape[axis], count = op->out.shape[axis];
    ptrdiff_t in_step = (ptrdiff_t)op->in[0].strides[axis] * (ptrdiff_t)size;
    ptrdiff_t step = (ptrdiff_t)op->out.strides[axis] * (ptrdiff_t)size;
    if (op->mode != KM_PAD_CONSTANT || padding->interior != 0) {
        for (uint32_t i = 0; i < count; i++, out += step) {
            int64_t at = source_index(op->mode, padding, length, i);
            const uint8_t *from = at < 0 ? op->fill : in + at * in_step;
            km_copy_row(out, (ptrdiff_t)size, from, (ptrdiff_t)size, size, 1);
        }
        return;
    }
    int64_t skip = padding->before < 0 ? -(int64_t)padding->before : 0;
    skip = skip < length ? skip : length;
    uint32_t left = padding->before > 0 ? (uint32_t)padding->before : 0;
    left = left < count ? left : count;
    int64_t shown = (int64_t)length - skip;
    uint32_t middle = shown < count - left ? (uint32_t)shown : count - left;
    fill_row(op, out, step, left);
    out += left * step;
    km_copy_row(out, step, in + skip * in_step, in_step, size, middle);
    out += middle * step;
    fill_row(op, out, step, count - left - middle);
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

void km_pad(const struct km_op *op) {
    const struct km_view *out = &op->out;
    uint32_t size = km_type_size(out->type);
    uint32_t index[KMODEL_MAX_RANK] = {0};
    if (out->rank == 0) {
        memcpy(out->data, op->in[0].data, size);
        return;
    }
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
