/* Decodes the operations on images: convolution, pooling and resizing. */
#include "tensor_ops.h"

enum {
    RESIZE_WORK = 16,
    NCHW = 4,
    HEIGHT = 2, /* axes of NCHW */
    WIDTH = 3,
    MAX_WINDOW_PAD = 1 << 20,
    MAX_LENGTH = 1 << 24, /* positions in single precision are exact up to here */
};

/* How many positions a window has; 0 if its fields make no sense. */
static uint32_t positions(uint32_t length, const struct km_window *window,
                          const struct km_padding *padding) {
    if (window->stride == 0 || window->dilation == 0 || window->filter == 0 ||
        window->filter > UINT16_MAX || padding->interior != 0 ||
        padding->before < -MAX_WINDOW_PAD || padding->before > MAX_WINDOW_PAD ||
        padding->after < -MAX_WINDOW_PAD || padding->after > MAX_WINDOW_PAD) {
        return 0;
    }
    int64_t span = (int64_t)(window->filter - 1) * window->dilation + 1;
    int64_t room = (int64_t)length + padding->before + padding->after - span;
    return room < 0 ? 0 : (uint32_t)(room / window->stride) + 1;
}

/* Pops the paddings; makes NCHW's out shape. */
static void pop_windows(struct km_vm *vm, struct km_op *op, const uint32_t *in_shape,
                        uint32_t channels, uint32_t out_shape[NCHW]) {
    out_shape[0] = in_shape[0];
    out_shape[1] = channels;
    for (uint32_t axis = 2; axis-- > 0;) {
        struct km_padding padding = km_pop_padding(vm);
        uint32_t length = in_shape[HEIGHT + axis];
        uint32_t count =
            length > INT32_MAX / 2 ? 0 : positions(length, &op->window[axis], &padding);
        op->window[axis].before = padding.before;
        out_shape[HEIGHT + axis] = count;
        km_require(vm, count > 0, KMODEL_BAD_OPERANDS);
    }
}

static void read_strides(struct km_vm *vm, struct km_op *op) {
    op->window[0].stride = km_u16(&vm->reader);
    op->window[1].stride = km_u16(&vm->reader);
    op->window[0].dilation = km_u16(&vm->reader);
    op->window[1].dilation = km_u16(&vm->reader);
    op->low = km_f32(&vm->reader);
    op->high = km_f32(&vm->reader);
}

void km_decode_reduce_window2d(struct km_vm *vm, struct km_op *op) {
    struct km_common common;
    common.in_type = common.out_type = km_u8(&vm->reader);
    op->mode = km_u8(&vm->reader);
    common.rank = km_as_shape(vm, km_read_register(vm), common.shape);
    common.in_strides = km_read_register(vm);
    common.out_strides = km_read_register(vm);
    op->window[0].filter = km_u16(&vm->reader);
    op->window[1].filter = km_u16(&vm->reader);
    read_strides(vm, op);
    km_require_type(vm, common.in_type, KMODEL_F32);
    km_require(vm, op->mode <= KM_REDUCE_SUM, KMODEL_UNSUPPORTED);
    km_require(vm, common.rank == NCHW, KMODEL_BAD_OPERANDS);
    if (vm->status != KMODEL_OK) {
        return;
    }
    uint32_t shape[NCHW];
    pop_windows(vm, op, common.shape, common.shape[1], shape);
    struct km_value out = km_pop_address(vm);
    op->init = km_pop_float(vm);
    struct km_value in = km_pop_address(vm);
    km_set_in_out(vm, op, &common, in, out, shape, NCHW);
    uint32_t factors[] = {shape[0],
                          shape[1],
                          shape[HEIGHT],
                          shape[WIDTH],
                          op->window[0].filter,
                          op->window[1].filter};
    op->work = km_product(factors, sizeof factors / sizeof factors[0]);
}

void km_decode_conv2d(struct km_vm *vm, struct km_op *op) {
    uint8_t type = km_u8(&vm->reader);
    uint32_t shape[KMODEL_MAX_RANK], kernel[KMODEL_MAX_RANK], out_shape[NCHW];
    uint32_t rank = km_as_shape(vm, km_read_register(vm), shape);
    const struct km_register *in_strides = km_read_register(vm);
    uint32_t kernel_rank = km_as_shape(vm, km_read_register(vm), kernel);
    const struct km_register *kernel_strides = km_read_register(vm);
    const struct km_register *bias_strides = km_read_register(vm);
    const struct km_register *out_strides = km_read_register(vm);
    op->groups = km_u16(&vm->reader);
    read_strides(vm, op);
    km_require_type(vm, type, KMODEL_F32);
    km_require(vm, rank == NCHW && kernel_rank == NCHW, KMODEL_BAD_OPERANDS);
    if (vm->status != KMODEL_OK) {
        return;
    }
    uint64_t channels = (uint64_t)op->groups * kernel[1];
    bool suits = op->groups > 0 && channels == shape[1] && kernel[0] % op->groups == 0;
    km_require(vm, suits, KMODEL_BAD_OPERANDS);
    op->window[0].filter = kernel[HEIGHT];
    op->window[1].filter = kernel[WIDTH];
    pop_windows(vm, op, shape, kernel[0], out_shape);
    struct km_value out = km_pop_address(vm);
    struct km_value bias = km_pop_address(vm);
    struct km_value weights = km_pop_address(vm);
    struct km_value in = km_pop_address(vm);
    km_make_view(vm, &op->in[0], in, type, shape, NCHW, in_strides, KM_READ);
    km_make_view(vm, &op->in[1], weights, type, kernel, NCHW, kernel_strides, KM_READ);
    km_make_view(vm, &op->in[2], bias, type, kernel, 1, bias_strides, KM_READ);
    km_make_view(vm, &op->out, out, type, out_shape, NCHW, out_strides, KM_WRITE);
    uint32_t factors[] = {out_shape[0], out_shape[1],   out_shape[HEIGHT], out_shape[3],
                          kernel[1],    kernel[HEIGHT], kernel[WIDTH]};
    op->work = km_product(factors, sizeof factors / sizeof factors[0]);
}

void km_decode_resize_image(struct km_vm *vm, struct km_op *op) {
    struct km_common common = km_read_common(vm, false);
    uint8_t align = km_u8(&vm->reader);
    uint8_t half = km_u8(&vm->reader);
    op->mode = km_u8(&vm->reader);
    op->align_corners = align != 0;
    op->half_pixel = half != 0;
    bool known = common.in_type == KMODEL_F32 || common.in_type == KMODEL_U8;
    known = known && align <= 1 && half <= 1 && op->mode <= KM_NEAREST;
    km_require(vm, known, KMODEL_UNSUPPORTED);
    km_require(vm, common.rank == NCHW, KMODEL_BAD_OPERANDS);
    if (vm->status != KMODEL_OK) {
        return;
    }
    struct km_value out = km_pop_address(vm);
    struct km_value in = km_pop_address(vm);
    int32_t width = km_pop_integer(vm);
    int32_t height = km_pop_integer(vm);
    bool sized = height > 0 && width > 0 && common.shape[HEIGHT] <= MAX_LENGTH &&
                 common.shape[WIDTH] <= MAX_LENGTH;
    km_require(vm, sized, KMODEL_BAD_OPERANDS);
    if (vm->status != KMODEL_OK) {
        return;
    }
    uint32_t shape[NCHW] = {common.shape[0], common.shape[1], (uint32_t)height,
                            (uint32_t)width};
    km_set_in_out(vm, op, &common, in, out, shape, NCHW);
    uint64_t count = km_product(shape, NCHW);
    op->work = count > KMODEL_MAX_WORK ? count : count * RESIZE_WORK;
}
