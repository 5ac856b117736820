/* Operations that treat each element alike, or only move elements about. */
#include "loop.h"
#include "op.h"
#include "real.h"

#include <string.h>

typedef float __attribute__((may_alias)) aliased_float;

enum { BYTE_VALUES = 256 };

/* Copies `from` to `to`, both of the shape of `from`. */
static void copy_view(const struct km_view *from, const struct km_view *to) {
    uint32_t size = km_type_size(from->type);
    struct km_loop loop;
    km_loop_start(&loop, from->shape, from->rank);
    km_loop_add(&loop, from->data, from->strides, size);
    km_loop_add(&loop, to->data, to->strides, size);
    km_loop_begin(&loop);
    do {
        km_copy_row(loop.at[1], loop.step[1], loop.at[0], loop.step[0], size, loop.row);
    } while (km_loop_next(&loop));
}

void km_copy(const struct km_op *op) { copy_view(&op->in[0], &op->out); }

void km_transpose(const struct km_op *op) {
    struct km_view from = op->in[0];
    for (uint32_t i = 0; i < from.rank; i++) {
        uint32_t axis = (uint32_t)op->perm->value[i];
        from.shape[i] = op->in[0].shape[axis];
        from.strides[i] = op->in[0].strides[axis];
    }
    copy_view(&from, &op->out);
}

void km_slice(const struct km_op *op) {
    struct km_view from = op->in[0];
    size_t offset = 0;
    for (uint32_t i = 0; i < from.rank; i++) {
        offset += (size_t)op->begins->value[i] * from.strides[i];
        from.shape[i] = op->out.shape[i];
        from.strides[i] *= (uint32_t)op->steps->value[i];
    }
    from.data += offset * km_type_size(from.type);
    copy_view(&from, &op->out);
}

/* Every value that a byte can stand for: fewer to compute than elements, mostly. */
static void fill_table(const struct km_op *op, float table[BYTE_VALUES]) {
    bool is_signed = op->in[0].type == KMODEL_I8;
    for (int32_t i = 0; i < BYTE_VALUES; i++) {
        int32_t value = is_signed ? (int8_t)i : i;
        table[i] = (float)value * op->scale + op->bias;
    }
}

static void dequantize_row(const float *table, const uint8_t *in, ptrdiff_t in_step,
                           uint8_t *out, ptrdiff_t out_step, uint32_t count) {
    if (in_step == 1 && out_step == (ptrdiff_t)sizeof(float)) {
        aliased_float *to = (aliased_float *)out;
        for (; count >= 4; count -= 4, in += 4, to += 4) {
            float a = table[in[0]], b = table[in[1]], c = table[in[2]],
                  d = table[in[3]];
            to[0] = a, to[1] = b, to[2] = c, to[3] = d;
        }
        out = (uint8_t *)to;
    }
    for (; count > 0; count--, in += in_step, out += out_step) {
        *(aliased_float *)out = table[*in];
    }
}

void km_dequantize(const struct km_op *op) {
    float table[BYTE_VALUES];
    fill_table(op, table);
    struct km_loop loop;
    km_loop_start(&loop, op->out.shape, op->out.rank);
    km_loop_add(&loop, op->in[0].data, op->in[0].strides, 1);
    km_loop_add(&loop, op->out.data, op->out.strides, sizeof(float));
    km_loop_begin(&loop);
    do {
        dequantize_row(table, loop.at[0], loop.step[0], loop.at[1], loop.step[1],
                       loop.row);
    } while (km_loop_next(&loop));
}

static void quantize_row(const struct km_op *op, const uint8_t *in, ptrdiff_t in_step,
                         uint8_t *out, ptrdiff_t out_step, uint32_t count) {
    float scale = op->scale, bias = op->bias;
    int32_t low = op->out.type == KMODEL_I8 ? INT8_MIN : 0;
    int32_t high = op->out.type == KMODEL_I8 ? INT8_MAX : UINT8_MAX;
    for (; count > 0; count--, in += in_step, out += out_step) {
        float scaled = *(const aliased_float *)in * scale + bias;
        int32_t value = km_to_nearest(scaled);
        value = value < low ? low : value;
        *out = (uint8_t)(value > high ? high : value);
    }
}

void km_quantize(const struct km_op *op) {
    struct km_loop loop;
    km_loop_start(&loop, op->out.shape, op->out.rank);
    km_loop_add(&loop, op->in[0].data, op->in[0].strides, sizeof(float));
    km_loop_add(&loop, op->out.data, op->out.strides, 1);
    km_loop_begin(&loop);
    do {
        quantize_row(op, loop.at[0], loop.step[0], loop.at[1], loop.step[1], loop.row);
    } while (km_loop_next(&loop));
}

void km_lut1d(const struct km_op *op) {
    const uint8_t *table = op->in[1].data;
    struct km_loop loop;
    km_loop_start(&loop, op->out.shape, op->out.rank);
    km_loop_add(&loop, op->in[0].data, op->in[0].strides, 1);
    km_loop_add(&loop, op->out.data, op->out.strides, 1);
    km_loop_begin(&loop);
    do {
        for (uint32_t i = 0; i < loop.row; i++) {
            ptrdiff_t at = (ptrdiff_t)i;
            loop.at[1][at * loop.step[1]] = table[loop.at[0][at * loop.step[0]]];
        }
    } while (km_loop_next(&loop));
}

static float binary(uint8_t mode, float a, float b) {
    switch (mode) {
    case KM_ADD:
        return a + b;
    case KM_SUB:
        return a - b;
    case KM_MUL:
        return a * b;
    case KM_DIV:
        return a / b;
    case KM_MIN:
        return b < a ? b : a;
    case KM_MAX:
        return a < b ? b : a;
    default:
        return km_pow(a, b);
    }
}

/* An operand's strides along the axes of the output: 0 where it is broadcast. */
static void broadcast(const struct km_view *in, const struct km_view *out,
                      uint32_t strides[KMODEL_MAX_RANK]) {
    uint32_t before = out->rank - in->rank;
    for (uint32_t i = 0; i < out->rank; i++) {
        bool repeats = i < before || in->shape[i - before] == 1;
        strides[i] = repeats ? 0 : in->strides[i - before];
    }
}

void km_binary(const struct km_op *op) {
    uint32_t strides[2][KMODEL_MAX_RANK];
    struct km_loop loop;
    km_loop_start(&loop, op->out.shape, op->out.rank);
    for (uint32_t i = 0; i < 2; i++) {
        broadcast(&op->in[i], &op->out, strides[i]);
        km_loop_add(&loop, op->in[i].data, strides[i], sizeof(float));
    }
    km_loop_add(&loop, op->out.data, op->out.strides, sizeof(float));
    km_loop_begin(&loop);
    do {
        const uint8_t *a = loop.at[0], *b = loop.at[1];
        uint8_t *out = loop.at[2];
        for (uint32_t i = 0; i < loop.row; i++) {
            float value =
                binary(op->mode, *(const aliased_float *)a, *(const aliased_float *)b);
            *(aliased_float *)out = km_clamp(value, op->low, op->high);
            a += loop.step[0], b += loop.step[1], out += loop.step[2];
        }
    } while (km_loop_next(&loop));
}
