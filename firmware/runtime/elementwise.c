/* Operations that treat each element alike, or only move elements about. */
#include "loop.h"
#include "op.h"
#include "real.h"

#include <string.h>

typedef float __attribute__((may_alias)) aliased_float;
typedef uint32_t __attribute__((may_alias)) aliased_u32;

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

/* The integer that a float stands for, as an 8-bit number of the output's type. */
static uint8_t quantize(const struct km_op *op, float value) {
    int32_t low = op->out.type == KMODEL_I8 ? INT8_MIN : 0;
    int32_t high = op->out.type == KMODEL_I8 ? INT8_MAX : UINT8_MAX;
    int32_t integer = km_to_nearest(value * op->scale + op->bias);
    integer = integer < low ? low : integer;
    return (uint8_t)(integer > high ? high : integer);
}

static void quantize_row(const struct km_op *op, const uint8_t *in, ptrdiff_t in_step,
                         uint8_t *out, ptrdiff_t out_step, uint32_t count) {
    for (; count > 0; count--, in += in_step, out += out_step) {
        *out = quantize(op, *(const aliased_float *)in);
    }
}

/*
 * What is quantized was mostly dequantized before and has few values: remembering what
 * each became is quicker than computing it. An entry holds the bits of a float in its
 * upper half and what it became in its lowest byte; its place follows from the bits.
 */
static uint64_t remembered(uint32_t bits, uint8_t value) {
    return (uint64_t)bits << 32 | value;
}

/* Exponent and leading mantissa, which tell multiples of one scale apart. */
static uint32_t place_of(uint32_t bits) {
    uint32_t leading = bits >> 15;
    return (leading ^ leading >> 6) & (KM_MEMO - 1);
}

static uint8_t look_up(const struct km_op *op, uint32_t bits) {
    uint64_t *entry = &op->memo[place_of(bits)];
    if (*entry >> 32 != bits) {
        float value;
        memcpy(&value, &bits, sizeof value);
        *entry = remembered(bits, quantize(op, value));
    }
    return (uint8_t)*entry;
}

static void quantize_dense_row(const struct km_op *op, const aliased_u32 *in,
                               uint8_t *out, uint32_t count) {
    const uint64_t *memo = op->memo;
    for (; count >= 4; count -= 4, in += 4, out += 4) {
        uint32_t a = in[0], b = in[1], c = in[2], d = in[3];
        uint64_t p = memo[place_of(a)], q = memo[place_of(b)], r = memo[place_of(c)],
                 s = memo[place_of(d)];
        uint64_t wrong =
            ((p >> 32) ^ a) | ((q >> 32) ^ b) | ((r >> 32) ^ c) | ((s >> 32) ^ d);
        if (wrong != 0) {
            p = look_up(op, a), q = look_up(op, b);
            r = look_up(op, c), s = look_up(op, d);
        }
        out[0] = (uint8_t)p, out[1] = (uint8_t)q;
        out[2] = (uint8_t)r, out[3] = (uint8_t)s;
    }
    while (count-- > 0) {
        *out++ = look_up(op, *in++);
    }
}

void km_quantize(const struct km_op *op) {
    struct km_loop loop;
    km_loop_start(&loop, op->out.shape, op->out.rank);
    km_loop_add(&loop, op->in[0].data, op->in[0].strides, sizeof(float));
    km_loop_add(&loop, op->out.data, op->out.strides, 1);
    km_loop_begin(&loop);
    bool dense = loop.step[0] == (ptrdiff_t)sizeof(float) && loop.step[1] == 1;
    bool many = op->work >= KM_MEMO;
    if (dense && many) {
        uint64_t zero = remembered(0, quantize(op, 0));
        for (uint32_t i = 0; i < KM_MEMO; i++) {
            op->memo[i] = zero;
        }
    }
    do {
        if (dense && many) {
            quantize_dense_row(op, (const aliased_u32 *)loop.at[0], loop.at[1],
                               loop.row);
        } else {
            quantize_row(op, loop.at[0], loop.step[0], loop.at[1], loop.step[1],
                         loop.row);
        }
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
