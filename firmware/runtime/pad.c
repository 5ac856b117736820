/* Padding, cropping (negative padding) and spreading (interior padding). */
#include "loop.h"
#include "op.h"

#include <string.h>

typedef uint32_t __attribute__((may_alias)) aliased_u32;

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

/* One axis of a constant padding: how many fill values, then what of the input. */
struct margins {
    uint32_t left, middle, right;
    ptrdiff_t step, in_step; /* bytes */
    ptrdiff_t skip;          /* bytes of the input that are cropped before */
    uint32_t run;            /* bytes of a step, if it is dense and not padded inside */
};

static struct margins margins_of(const struct km_op *op, uint32_t axis) {
    const struct km_view *in = &op->in[0], *out = &op->out;
    ptrdiff_t size = (ptrdiff_t)km_type_size(out->type);
    uint32_t length = in->shape[axis], count = out->shape[axis];
    int32_t before = op->padding[axis].before;
    uint32_t skip = before < 0 ? (uint32_t)-(int64_t)before : 0;
    skip = skip < length ? skip : length;
    struct margins margins;
    margins.step = (ptrdiff_t)out->strides[axis] * size;
    margins.in_step = (ptrdiff_t)in->strides[axis] * size;
    margins.skip = (ptrdiff_t)skip * margins.in_step;
    margins.left = before > 0 ? (uint32_t)before : 0;
    margins.left = margins.left < count ? margins.left : count;
    uint32_t room = count - margins.left;
    margins.middle = length - skip < room ? length - skip : room;
    margins.right = room - margins.middle;
    return margins;
}

static void fill_row(const struct km_op *op, uint8_t *out, ptrdiff_t step,
                     uint32_t count) {
    ptrdiff_t size = (ptrdiff_t)km_type_size(op->out.type);
    if (size == sizeof(uint32_t)) {
        uint32_t value = *(const aliased_u32 *)op->fill;
        for (uint32_t i = 0; i < count; i++, out += step) {
            *(aliased_u32 *)out = value;
        }
        return;
    }
    for (uint32_t i = 0; i < count; i++, out += step) {
        km_copy_row(out, size, op->fill, size, (uint32_t)size, 1);
    }
}

/* Fills `count` slices of the output along an axis. */
static void fill_slices(const struct km_op *op, uint32_t axis, uint8_t *out,
                        uint32_t count) {
    const struct km_view *view = &op->out;
    ptrdiff_t step =
        (ptrdiff_t)view->strides[axis] * (ptrdiff_t)km_type_size(view->type);
    if (axis == view->rank - 1) {
        fill_row(op, out, step, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++, out += step) {
        fill_slices(op, axis + 1, out, view->shape[axis + 1]);
    }
}

/* Finds the axes along which whole runs of bytes can be copied. */
static void find_runs(const struct km_op *op, struct margins *margins) {
    uint32_t run = km_type_size(op->out.type);
    for (uint32_t axis = op->out.rank; axis-- > 0;) {
        struct margins *here = &margins[axis];
        bool dense = here->step == (ptrdiff_t)run && here->in_step == (ptrdiff_t)run;
        here->run = dense ? run : 0;
        bool bare = here->left == 0 && here->right == 0 &&
                    op->in[0].shape[axis] == here->middle;
        run = dense && bare ? run * here->middle : 0;
    }
}

static void pad_constant(const struct km_op *op, const struct margins *margins,
                         uint32_t axis, const uint8_t *in, uint8_t *out) {
    const struct margins *here = &margins[axis];
    if (here->left > 0) {
        fill_slices(op, axis, out, here->left);
        out += here->left * here->step;
    }
    in += here->skip;
    if (here->run > 0) {
        km_copy_bytes(out, in, here->middle * here->run);
    } else if (axis == op->out.rank - 1) {
        km_copy_row(out, here->step, in, here->in_step, km_type_size(op->out.type),
                    here->middle);
    } else {
        for (uint32_t i = 0; i < here->middle; i++) {
            pad_constant(op, margins, axis + 1, in + i * here->in_step,
                         out + i * here->step);
        }
    }
    if (here->right > 0) {
        fill_slices(op, axis, out + here->middle * here->step, here->right);
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
    struct margins margins[KMODEL_MAX_RANK];
    bool plain = op->mode == KM_PAD_CONSTANT;
    for (uint32_t axis = 0; axis < op->out.rank; axis++) {
        plain &= op->padding[axis].interior == 0;
        margins[axis] = margins_of(op, axis);
    }
    if (op->out.rank == 0) {
        memcpy(op->out.data, op->in[0].data, km_type_size(op->out.type));
    } else if (plain) {
        find_runs(op, margins);
        pad_constant(op, margins, 0, op->in[0].data, op->out.data);
    } else {
        pad_by_index(op);
    }
}
