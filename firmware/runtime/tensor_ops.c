/*
 * Decodes the tensor operations of the stackvm module: immediates follow the opcode,
 * operands are popped in the reverse of the order in which they were pushed.
 */
#include "tensor_ops.h"

#include <string.h>

enum { EXP_WORK = 64, LUT_SIZE = 256 };

struct km_common km_read_common(struct km_vm *vm, bool casts) {
    struct km_common common;
    common.in_type = km_u8(&vm->reader);
    common.out_type = casts ? km_u8(&vm->reader) : common.in_type;
    common.rank = km_as_shape(vm, km_read_register(vm), common.shape);
    common.in_strides = km_read_register(vm);
    common.out_strides = km_read_register(vm);
    return common;
}

/* The rest of read_common, of operations that have fields in between. */
void km_set_in_out(struct km_vm *vm, struct km_op *op, const struct km_common *common,
                   struct km_value in, struct km_value out, const uint32_t *out_shape,
                   uint32_t out_rank) {
    km_make_view(vm, &op->in[0], in, common->in_type, common->shape, common->rank,
                 common->in_strides, KM_READ);
    km_make_view(vm, &op->out, out, common->out_type, out_shape, out_rank,
                 common->out_strides, KM_WRITE);
    op->work = km_product(common->shape, common->rank);
}

/* Pops `out` and `in`; the output has the given shape. */
static void pop_in_out(struct km_vm *vm, struct km_op *op,
                       const struct km_common *common, const uint32_t *out_shape,
                       uint32_t out_rank) {
    struct km_value out = km_pop_address(vm);
    struct km_value in = km_pop_address(vm);
    km_set_in_out(vm, op, common, in, out, out_shape, out_rank);
}

void km_require_type(struct km_vm *vm, uint8_t type, enum kmodel_type expected) {
    km_require(vm, type == expected, KMODEL_UNSUPPORTED);
}

static void decode_copy(struct km_vm *vm, struct km_op *op) {
    struct km_common common = km_read_common(vm, false);
    pop_in_out(vm, op, &common, common.shape, common.rank);
}

static void decode_scaled(struct km_vm *vm, struct km_op *op) {
    struct km_common common = km_read_common(vm, true);
    bool quantize = op->id == KM_QUANTIZE;
    uint8_t real = quantize ? common.in_type : common.out_type;
    uint8_t integer = quantize ? common.out_type : common.in_type;
    km_require_type(vm, real, KMODEL_F32);
    km_require(vm, integer == KMODEL_U8 || integer == KMODEL_I8, KMODEL_UNSUPPORTED);
    op->bias = km_pop_float(vm);
    op->scale = km_pop_float(vm);
    pop_in_out(vm, op, &common, common.shape, common.rank);
}

static void decode_lut1d(struct km_vm *vm, struct km_op *op) {
    static const struct km_register dense = {1, {1}};
    static const uint32_t table_shape[] = {LUT_SIZE};
    struct km_common common = km_read_common(vm, false);
    uint16_t length = km_u16(&vm->reader);
    km_require_type(vm, common.in_type, KMODEL_U8);
    km_require(vm, length == LUT_SIZE, KMODEL_UNSUPPORTED);
    km_pop_integer(vm); /* the table's domain, which is that of u8 */
    km_pop_integer(vm);
    struct km_value out = km_pop_address(vm);
    struct km_value table = km_pop_address(vm);
    struct km_value in = km_pop_address(vm);
    km_set_in_out(vm, op, &common, in, out, common.shape, common.rank);
    km_make_view(vm, &op->in[1], table, KMODEL_U8, table_shape, 1, &dense, KM_READ);
}

static const struct km_paddings *read_paddings(struct km_vm *vm, uint32_t rank) {
    static const struct km_paddings none;
    uint32_t number = km_u8(&vm->reader);
    bool known = number < KM_PADDINGS && vm->state->paddings[number].rank >= 0;
    km_require(vm, known, KMODEL_BAD_CODE);
    const struct km_paddings *paddings = known ? &vm->state->paddings[number] : &none;
    km_require(vm, paddings->rank == (int32_t)rank, KMODEL_BAD_OPERANDS);
    return paddings;
}

/* The length of a padded axis; 0 if it is not one. */
static uint32_t padded(uint32_t length, const struct km_padding *padding,
                       uint8_t mode) {
    int64_t between = (int64_t)(length - 1) * padding->interior;
    int64_t out = (int64_t)length + padding->before + padding->after + between;
    int32_t most = padding->before > padding->after ? padding->before : padding->after;
    int64_t reach = mode == KM_PAD_REFLECT ? (int64_t)length - 1 : length;
    bool mirrors = mode == KM_PAD_REFLECT || mode == KM_PAD_SYMMETRIC;
    if (padding->interior < 0 || (mode != KM_PAD_CONSTANT && padding->interior != 0) ||
        (mirrors && most > reach) || out > INT32_MAX || out < 0) {
        return 0;
    }
    return (uint32_t)out;
}

static void pop_fill(struct km_vm *vm, struct km_op *op, uint8_t type) {
    if (type == KMODEL_F32) {
        float value = km_pop_float(vm);
        memcpy(op->fill, &value, sizeof value);
        return;
    }
    bool real = type == KMODEL_F16 || type == KMODEL_F64 || type == KMODEL_BF16;
    km_require(vm, !real, KMODEL_UNSUPPORTED);
    int64_t value = km_pop_integer(vm);
    memcpy(op->fill, &value, sizeof value);
}

static void decode_pad(struct km_vm *vm, struct km_op *op) {
    struct km_common common = km_read_common(vm, false);
    const struct km_paddings *paddings = read_paddings(vm, common.rank);
    op->mode = km_u8(&vm->reader);
    km_require(vm, op->mode <= KM_PAD_EDGE, KMODEL_UNSUPPORTED);
    pop_fill(vm, op, common.in_type);
    uint32_t shape[KMODEL_MAX_RANK] = {0};
    for (uint32_t i = 0; vm->status == KMODEL_OK && i < common.rank; i++) {
        op->padding[i] = paddings->value[i];
        shape[i] = padded(common.shape[i], &op->padding[i], op->mode);
        km_require(vm, shape[i] > 0, KMODEL_BAD_OPERANDS);
    }
    pop_in_out(vm, op, &common, shape, common.rank);
    op->work = km_product(shape, common.rank);
}

static void decode_transpose(struct km_vm *vm, struct km_op *op) {
    struct km_common common = km_read_common(vm, false);
    op->perm = km_read_register(vm);
    uint32_t shape[KMODEL_MAX_RANK];
    uint32_t seen = 0;
    km_require(vm, op->perm->rank == (int32_t)common.rank, KMODEL_BAD_OPERANDS);
    for (uint32_t i = 0; vm->status == KMODEL_OK && i < common.rank; i++) {
        uint32_t axis = (uint32_t)op->perm->value[i];
        bool fresh = axis < common.rank && (seen & 1u << axis) == 0;
        km_require(vm, fresh, KMODEL_BAD_OPERANDS);
        shape[i] = fresh ? common.shape[axis] : 1;
        seen |= fresh ? 1u << axis : 0;
    }
    pop_in_out(vm, op, &common, shape, common.rank);
}

static void decode_slice(struct km_vm *vm, struct km_op *op) {
    struct km_common common = km_read_common(vm, false);
    const struct km_register *begins = km_read_register(vm);
    const struct km_register *ends = km_read_register(vm);
    const struct km_register *steps = km_read_register(vm);
    int32_t rank = (int32_t)common.rank;
    bool same = begins->rank == rank && ends->rank == rank && steps->rank == rank;
    km_require(vm, same, KMODEL_BAD_OPERANDS);
    uint32_t shape[KMODEL_MAX_RANK];
    for (int32_t i = 0; vm->status == KMODEL_OK && i < rank; i++) {
        int32_t begin = begins->value[i], end = ends->value[i], step = steps->value[i];
        bool inside =
            begin >= 0 && begin < end && (uint32_t)end <= common.shape[i] && step > 0;
        km_require(vm, inside, KMODEL_BAD_OPERANDS);
        shape[i] = inside ? (uint32_t)((end - begin - 1) / step) + 1 : 1;
    }
    op->begins = begins;
    op->steps = steps;
    pop_in_out(vm, op, &common, shape, common.rank);
}

static void decode_reduce(struct km_vm *vm, struct km_op *op) {
    struct km_common common = km_read_common(vm, false);
    op->mode = km_u8(&vm->reader);
    const struct km_register *axes = km_read_register(vm);
    uint8_t keep = km_u8(&vm->reader);
    km_require_type(vm, common.in_type, KMODEL_F32);
    km_require(vm, op->mode <= KM_REDUCE_SUM && keep <= 1, KMODEL_UNSUPPORTED);
    op->init = km_pop_float(vm);
    for (int32_t i = 0; i < axes->rank; i++) {
        uint32_t axis = (uint32_t)axes->value[i];
        bool fresh = axis < common.rank && (op->reduced & 1u << axis) == 0;
        km_require(vm, fresh, KMODEL_BAD_OPERANDS);
        op->reduced |= fresh ? 1u << axis : 0;
    }
    uint32_t shape[KMODEL_MAX_RANK];
    uint32_t rank = 0;
    for (uint32_t i = 0; i < common.rank; i++) {
        bool reduced = (op->reduced & 1u << i) != 0;
        if (!reduced || keep != 0) {
            shape[rank++] = reduced ? 1 : common.shape[i];
        }
    }
    if (rank == 0) {
        shape[rank++] = 1;
    }
    pop_in_out(vm, op, &common, shape, rank);
}

static void decode_softmax(struct km_vm *vm, struct km_op *op) {
    struct km_common common = km_read_common(vm, false);
    int32_t axis = km_i32(&vm->reader);
    op->scale = km_f32(&vm->reader);
    km_require_type(vm, common.in_type, KMODEL_F32);
    int32_t rank = (int32_t)common.rank;
    km_require(vm, axis >= -rank && axis < rank, KMODEL_BAD_OPERANDS);
    op->axis = (uint32_t)(axis < 0 ? axis + rank : axis);
    pop_in_out(vm, op, &common, common.shape, common.rank);
    op->work = op->work > KMODEL_MAX_WORK ? op->work : op->work * EXP_WORK;
}

static void decode_binary(struct km_vm *vm, struct km_op *op) {
    uint8_t type = km_u8(&vm->reader);
    const struct km_register *strides[3];
    uint32_t shape[3][KMODEL_MAX_RANK];
    uint32_t rank[3];
    for (uint32_t i = 0; i < 3; i++) {
        rank[i] = km_as_shape(vm, km_read_register(vm), shape[i]);
        strides[i] = km_read_register(vm);
    }
    op->mode = km_u8(&vm->reader);
    op->low = km_f32(&vm->reader);
    op->high = km_f32(&vm->reader);
    km_require_type(vm, type, KMODEL_F32);
    km_require(vm, op->mode <= KM_POW, KMODEL_UNSUPPORTED);
    struct km_value out = km_pop_address(vm);
    struct km_value b = km_pop_address(vm);
    struct km_value a = km_pop_address(vm);
    km_require(vm, rank[2] == (rank[0] > rank[1] ? rank[0] : rank[1]),
               KMODEL_BAD_OPERANDS);
    for (uint32_t i = 0; vm->status == KMODEL_OK && i < rank[2]; i++) {
        uint32_t before_a = rank[2] - rank[0], before_b = rank[2] - rank[1];
        uint32_t x = i < before_a ? 1 : shape[0][i - before_a];
        uint32_t y = i < before_b ? 1 : shape[1][i - before_b];
        bool suits = (x == y || x == 1 || y == 1) && shape[2][i] == (x == 1 ? y : x);
        km_require(vm, suits, KMODEL_BAD_OPERANDS);
    }
    km_make_view(vm, &op->in[0], a, type, shape[0], rank[0], strides[0], KM_READ);
    km_make_view(vm, &op->in[1], b, type, shape[1], rank[1], strides[1], KM_READ);
    km_make_view(vm, &op->out, out, type, shape[2], rank[2], strides[2], KM_WRITE);
    op->work = km_product(shape[2], rank[2]);
}

/* How each operation is decoded and run. */
static const struct {
    uint16_t id;
    void (*decode)(struct km_vm *vm, struct km_op *op);
    void (*run)(const struct km_op *op);
} OPERATIONS[] = {
    {KM_BINARY, decode_binary, km_binary},
    {KM_CONV2D, km_decode_conv2d, km_conv2d},
    {KM_COPY, decode_copy, km_copy},
    {KM_DEQUANTIZE, decode_scaled, km_dequantize},
    {KM_LUT1D, decode_lut1d, km_lut1d},
    {KM_PAD, decode_pad, km_pad},
    {KM_QUANTIZE, decode_scaled, km_quantize},
    {KM_REDUCE, decode_reduce, km_reduce},
    {KM_REDUCE_WINDOW2D, km_decode_reduce_window2d, km_reduce_window2d},
    {KM_RESIZE_IMAGE, km_decode_resize_image, km_resize_image},
    {KM_SLICE, decode_slice, km_slice},
    {KM_SOFTMAX, decode_softmax, km_softmax},
    {KM_TRANSPOSE, decode_transpose, km_transpose},
};

enum { OPERATION_COUNT = sizeof OPERATIONS / sizeof OPERATIONS[0] };

static void report(const struct km_state *state, const struct km_view *out) {
    struct kmodel_view view = {.data = out->data, .type = (enum kmodel_type)out->type};
    view.rank = out->rank;
    memcpy(view.shape, out->shape, sizeof out->shape);
    memcpy(view.strides, out->strides, sizeof out->strides);
    km_tell(state, KMODEL_ENTRY, state->op_index, &view, 1);
}

void km_tensor_op(struct km_vm *vm, uint16_t id) {
    struct km_state *state = vm->state;
    struct km_op op;
    memset(&op, 0, sizeof op);
    op.id = id;
    op.memo = state->memo;
    uint32_t which = 0;
    while (which < OPERATION_COUNT && OPERATIONS[which].id != id) {
        which++;
    }
    if (which == OPERATION_COUNT) {
        km_fail(vm, vm->reader.failed ? KMODEL_TRUNCATED : KMODEL_UNSUPPORTED);
        return;
    }
    OPERATIONS[which].decode(vm, &op);
    km_require(vm, !vm->reader.failed, KMODEL_TRUNCATED);
    if (vm->status != KMODEL_OK) {
        return;
    }
    km_require(vm, km_add_work(state, op.work), KMODEL_TOO_LONG);
    if (vm->status == KMODEL_OK && state->run != NULL) {
        km_tell(state, KMODEL_ENTRY, state->op_index, NULL, 0);
        OPERATIONS[which].run(&op);
        report(state, &op.out);
    }
}
