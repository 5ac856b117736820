/* Reductions along axes, and softmax, in the order of nncase's reference kernels. */
#include "loop.h"
#include "op.h"
#include "real.h"

#include <float.h>

typedef float __attribute__((may_alias)) aliased_float;

static float combine(uint8_t mode, float total, float value) {
    switch (mode) {
    case KM_REDUCE_MIN:
        return value < total ? value : total;
    case KM_REDUCE_MAX:
        return total < value ? value : total;
    default:
        return total + value;
    }
}

/* The output's strides along the axes of the input: 0 where it is reduced. */
static void reduced_strides(const struct km_op *op, uint32_t strides[KMODEL_MAX_RANK]) {
    bool kept = op->out.rank == op->in[0].rank;
    uint32_t to = 0;
    for (uint32_t axis = 0; axis < op->in[0].rank; axis++) {
        bool reduced = (op->reduced & 1u << axis) != 0;
        strides[axis] = reduced ? 0 : op->out.strides[to];
        to += !reduced || kept;
    }
}

static void fill(const struct km_view *view, float value) {
    struct km_loop loop;
    km_loop_start(&loop, view->shape, view->rank);
    km_loop_add(&loop, view->data, view->strides, sizeof value);
    km_loop_begin(&loop);
    do {
        for (uint32_t i = 0; i < loop.row; i++) {
            *(aliased_float *)(loop.at[0] + (ptrdiff_t)i * loop.step[0]) = value;
        }
    } while (km_loop_next(&loop));
}

static void divide(const struct km_view *view, float divisor) {
    struct km_loop loop;
    km_loop_start(&loop, view->shape, view->rank);
    km_loop_add(&loop, view->data, view->strides, sizeof divisor);
    km_loop_begin(&loop);
    do {
        for (uint32_t i = 0; i < loop.row; i++) {
            *(aliased_float *)(loop.at[0] + (ptrdiff_t)i * loop.step[0]) /= divisor;
        }
    } while (km_loop_next(&loop));
}

static void reduce_row(const struct km_loop *loop, uint8_t mode) {
    const uint8_t *in = loop->at[0];
    uint8_t *out = loop->at[1];
    if (loop->step[1] == 0) {
        float total = *(aliased_float *)out;
        for (uint32_t i = 0; i < loop->row; i++, in += loop->step[0]) {
            total = combine(mode, total, *(const aliased_float *)in);
        }
        *(aliased_float *)out = total;
        return;
    }
    for (uint32_t i = 0; i < loop->row; i++) {
        aliased_float *to = (aliased_float *)out;
        *to = combine(mode, *to, *(const aliased_float *)in);
        in += loop->step[0], out += loop->step[1];
    }
}

static float initial(const struct km_op *op) {
    if (op->mode == KM_REDUCE_MIN) {
        return FLT_MAX;
    }
    return op->mode == KM_REDUCE_MAX ? -FLT_MAX : op->init;
}

void km_reduce(const struct km_op *op) {
    const struct km_view *in = &op->in[0];
    uint32_t strides[KMODEL_MAX_RANK];
    reduced_strides(op, strides);
    fill(&op->out, initial(op));
    struct km_loop loop;
    km_loop_start(&loop, in->shape, in->rank);
    km_loop_add(&loop, in->data, in->strides, sizeof(float));
    km_loop_add(&loop, op->out.data, strides, sizeof(float));
    km_loop_begin(&loop);
    do {
        reduce_row(&loop, op->mode);
    } while (km_loop_next(&loop));
    if (op->mode == KM_REDUCE_MEAN) {
        uint64_t block = 1;
        for (uint32_t axis = 0; axis < in->rank; axis++) {
            block *= (op->reduced & 1u << axis) != 0 ? in->shape[axis] : 1;
        }
        divide(&op->out, (float)block);
    }
}

/* One line along the softmax's axis. */
static void softmax_line(const uint8_t *in, ptrdiff_t in_step, uint8_t *out,
                         ptrdiff_t out_step, uint32_t count, float beta) {
    float most = -FLT_MAX, total = 0;
    for (uint32_t i = 0; i < count; i++) {
        float value = *(const aliased_float *)(in + (ptrdiff_t)i * in_step);
        most = most < value ? value : most;
    }
    for (uint32_t i = 0; i < count; i++) {
        float value = *(const aliased_float *)(in + (ptrdiff_t)i * in_step);
        float power = km_exp((value - most) * beta);
        *(aliased_float *)(out + (ptrdiff_t)i * out_step) = power;
        total += power;
    }
    for (uint32_t i = 0; i < count; i++) {
        *(aliased_float *)(out + (ptrdiff_t)i * out_step) /= total;
    }
}

void km_softmax(const struct km_op *op) {
    const struct km_view *in = &op->in[0], *out = &op->out;
    uint32_t shape[KMODEL_MAX_RANK];
    for (uint32_t i = 0; i < in->rank; i++) {
        shape[i] = i == op->axis ? 1 : in->shape[i];
    }
    ptrdiff_t size = (ptrdiff_t)sizeof(float);
    ptrdiff_t in_step = (ptrdiff_t)in->strides[op->axis] * size;
    ptrdiff_t out_step = (ptrdiff_t)out->strides[op->axis] * size;
    struct km_loop loop;
    km_loop_start(&loop, shape, in->rank);
    km_loop_add(&loop, in->data, in->strides, sizeof(float));
    km_loop_add(&loop, out->data, out->strides, sizeof(float));
    km_loop_begin(&loop);
    do {
        for (uint32_t i = 0; i < loop.row; i++) {
            softmax_line(loop.at[0] + (ptrdiff_t)i * loop.step[0], in_step,
                         loop.at[1] + (ptrdiff_t)i * loop.step[1], out_step,
                         in->shape[op->axis], op->scale);
        }
    } while (km_loop_next(&loop));
}
