/* Operations that treat each element alike, or only move elements about. */
#include "loop.h"
#include "op.h"
#include "real.h"

#include <string.h>

typedef float __attribute__((may_alias)) aliased_float;
typedef uint32_t __attribute__((may_alias)) aliased_u32;

enum { BYTE_VALUES = 256 };

void km_copy_view(const struct km_view *from, const struct km_view *to) {
    uint32_t size = km_type_size(from->type);
    struct km_loop loop;
    km_loop_start(&loop, from->shape, from->rank);
    km_loop_add(&loop, from->data, from->strides, size);
    km_loop_add(&loop, to->data, to->strides, size);
    km_loop_begin(&loop);
    km_loop_lengthen(&loop);
    do {
        km_copy_row(loop.at[1], loop.step[1], loop.at[0], loop.step[0], size, loop.row);
    } while (km_loop_next(&loop));
}

void km_copy(const struct km_op *op) { km_copy_view(&op->in[0], &op->out); }

void km_transpose(const struct km_op *op) {
    struct km_view from = op->in[0];
    for (uint32_t i = 0; i < from.rank; i++) {
        uint32_t axis = (uint32_t)op->perm->value[i];
        from.shape[i] = op->in[0].shape[axis];
        from.strides[i] = op->in[0].strides[axis];
    }
    km_copy_view(&from, &op->out);
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
    km_copy_view(&from, &op->out);
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
 * each became is quicker than computing it. Its place follows from the bits of a float:
 * exponent and leading mantissa, which tell multiples of one scale apart.
 */
enum { LEADING_AT = 15, OFFSET_AT = LEADING_AT - 2, FOLD = 6, VALUE_AT = LEADING_AT };

static uint32_t *entry_of(uint32_t *memo, uint64_t bits) {
    const uint64_t last = (KM_MEMO - 1) * sizeof *memo;
    uint64_t folded = bits ^ bits >> FOLD;
    return (uint32_t *)(void *)((uint8_t *)memo + (folded >> OFFSET_AT & last));
}

/*
 * An entry is the bits of a float, but for those that its place and the others tell;
 * among them stands what the float became.
 */
#define KEY_MASK (~((KM_MEMO - 1u) << LEADING_AT))

_Static_assert(KM_MEMO > UINT8_MAX, "a byte has room where the place tells the bits");

static uint32_t remembered(uint32_t bits, uint8_t value) {
    return (bits & KEY_MASK) | (uint32_t)value << VALUE_AT;
}

/* Looks up floats one by one, and computes what is not remembered. */
__attribute__((noinline)) static void
look_up(const struct km_op *op, const aliased_u32 *in, uint8_t *out, uint32_t count) {
    for (; count > 0; count--, in++, out++) {
        uint32_t bits = *in;
        uint32_t *entry = entry_of(op->memo, bits);
        if (((*entry ^ bits) & KEY_MASK) != 0) {
            float value;
            memcpy(&value, &bits, sizeof value);
            *entry = remembered(bits, quantize(op, value));
        }
        *out = (uint8_t)(*entry >> VALUE_AT);
    }
}

static void quantize_dense_row(const struct km_op *op, const aliased_u32 *in,
                               uint8_t *out, uint32_t count) {
    uint32_t *memo = op->memo;
    const aliased_u32 *end = in + (count & ~3u);
    for (; in != end; in += 4, out += 4) {
        uint64_t a = in[0], b = in[1], c = in[2], d = in[3];
        uint64_t p = *entry_of(memo, a), q = *entry_of(memo, b), r = *entry_of(memo, c),
                 s = *entry_of(memo, d);
        uint64_t wrong = (p ^ a) | (q ^ b) | (r ^ c) | (s ^ d);
        if ((wrong & KEY_MASK) == 0) {
            out[0] = (uint8_t)(p >> VALUE_AT), out[1] = (uint8_t)(q >> VALUE_AT);
            out[2] = (uint8_t)(r >> VALUE_AT), out[3] = (uint8_t)(s >> VALUE_AT);
        } else {
            look_up(op, in, out, 4);
        }
    }
    look_up(op, in, out, count & 3u);
}

/*
 * Begin with the floats whose places tell all bits that are not 0. They are from 0 to
 * 2^-119: times any scale that is less than this limit they are so near to 0 that all
 * become what 0 becomes.
 */
static const float MEMO_SCALES = 0x1p32f;

static void start_memo(const struct km_op *op) {
    uint32_t zero = remembered(0, quantize(op, 0));
    for (uint32_t i = 0; i < KM_MEMO; i++) {
        op->memo[i] = zero;
    }
}

void km_quantize(const struct km_op *op) {
    struct km_loop loop;
    km_loop_start(&loop, op->out.shape, op->out.rank);
    km_loop_add(&loop, op->in[0].data, op->in[0].strides, sizeof(float));
    km_loop_add(&loop, op->out.data, op->out.strides, 1);
    km_loop_begin(&loop);
    bool dense = loop.step[0] == (ptrdiff_t)sizeof(float) && loop.step[1] == 1;
    bool remember = dense && op->work >= KM_MEMO && op->scale < MEMO_SCALES &&
                    op->scale > -MEMO_SCALES;
    if (remember) {
        start_memo(op);
    }
    do {
        if (remember) {
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
