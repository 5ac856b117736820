/* Sliding windows over NCHW images: convolution and pooling in floating point. */
#include "op.h"
#include "real.h"

typedef float __attribute__((may_alias)) aliased_float;

enum { HEIGHT = 2, WIDTH = 3 };

/* The taps of a window that lie within the image, and where the first one does. */
struct taps {
    uint32_t first;
    uint32_t count;
    uint32_t at;
};

static struct taps taps_at(const struct km_window *window, uint32_t position,
                           uint32_t length) {
    int64_t origin = (int64_t)position * window->stride - window->before;
    int64_t dilation = window->dilation;
    int64_t first = origin < 0 ? (dilation - 1 - origin) / dilation : 0;
    int64_t end = length > origin ? (length - origin + dilation - 1) / dilation : 0;
    end = end < window->filter ? end : window->filter;
    struct taps taps = {0, 0, 0};
    if (first < end) {
        taps.first = (uint32_t)first;
        taps.count = (uint32_t)(end - first);
        taps.at = (uint32_t)(origin + first * dilation);
    }
    return taps;
}

static ptrdiff_t stride(const struct km_view *view, uint32_t axis) {
    return (ptrdiff_t)view->strides[axis] * (ptrdiff_t)sizeof(float);
}

/* What a window sees of one channel: a pointer to its first tap, and the steps. */
struct patch {
    const uint8_t *at;
    ptrdiff_t row_step, step;
    uint32_t rows, columns;
};

static struct patch patch_at(const struct km_op *op, const uint8_t *channel,
                             const struct taps *y, const struct taps *x) {
    const struct km_view *in = &op->in[0];
    ptrdiff_t row = stride(in, HEIGHT), column = stride(in, WIDTH);
    return (struct patch){
        channel + y->at * row + x->at * column, (ptrdiff_t)op->window[0].dilation * row,
        (ptrdiff_t)op->window[1].dilation * column, y->count, x->count};
}

static float at_step(const uint8_t *first, ptrdiff_t step) {
    return *(const aliased_float *)(first + step);
}

/* Adds one by one, in order: the rounding is nncase's. */
static float multiply_row(float total, const uint8_t *in, ptrdiff_t step,
                          const aliased_float *weight, uint32_t count) {
    for (; count >= 4; count -= 4, weight += 4) {
        float a = at_step(in, 0) * weight[0], b = at_step(in, step) * weight[1];
        in += 2 * step;
        float c = at_step(in, 0) * weight[2], d = at_step(in, step) * weight[3];
        in += 2 * step;
        total += a;
        total += b;
        total += c;
        total += d;
    }
    for (; count > 0; count--, in += step) {
        total += at_step(in, 0) * *weight++;
    }
    return total;
}

static float multiply_patch(float total, struct patch patch, const uint8_t *weights,
                            ptrdiff_t weights_row, ptrdiff_t weights_step) {
    bool dense = weights_step == (ptrdiff_t)sizeof(float);
    for (; patch.rows > 0; patch.rows--) {
        const uint8_t *in = patch.at, *weight = weights;
        if (dense) {
            total = multiply_row(total, in, patch.step, (const aliased_float *)weight,
                                 patch.columns);
        }
        for (uint32_t i = dense ? 0 : patch.columns; i > 0; i--) {
            total += at_step(in, 0) * at_step(weight, 0);
            in += patch.step, weight += weights_step;
        }
        patch.at += patch.row_step, weights += weights_row;
    }
    return total;
}

/* One output pixel: bias first, then channel by channel, row by row. */
static float convolve(const struct km_op *op, const uint8_t *image,
                      const uint8_t *weights, float bias, const struct taps *y,
                      const struct taps *x) {
    const struct km_view *kernel = &op->in[1];
    ptrdiff_t row = stride(kernel, HEIGHT), column = stride(kernel, WIDTH);
    weights += y->first * row + x->first * column;
    float total = bias;
    if (y->count == 1 && x->count == 1) { /* the channels are all there is to add */
        struct patch patch = patch_at(op, image, y, x);
        patch.columns = kernel->shape[1];
        patch.step = stride(&op->in[0], 1);
        total = multiply_patch(total, patch, weights, 0, stride(kernel, 1));
        return km_clamp(total, op->low, op->high);
    }
    for (uint32_t channel = 0; channel < kernel->shape[1]; channel++) {
        struct patch patch = patch_at(op, image, y, x);
        total = multiply_patch(total, patch, weights, row, column);
        image += stride(&op->in[0], 1), weights += stride(kernel, 1);
    }
    return km_clamp(total, op->low, op->high);
}

static void convolve_channel(const struct km_op *op, uint32_t batch, uint32_t channel) {
    const struct km_view *in = &op->in[0], *kernel = &op->in[1], *out = &op->out;
    uint32_t group = channel / (out->shape[1] / op->groups);
    const uint8_t *image =
        in->data + batch * stride(in, 0) + group * kernel->shape[1] * stride(in, 1);
    const uint8_t *weights = kernel->data + channel * stride(kernel, 0);
    float bias =
        *(const aliased_float *)(op->in[2].data + channel * stride(&op->in[2], 0));
    uint8_t *plane = out->data + batch * stride(out, 0) + channel * stride(out, 1);
    for (uint32_t row = 0; row < out->shape[HEIGHT]; row++) {
        struct taps y = taps_at(&op->window[0], row, in->shape[HEIGHT]);
        uint8_t *to = plane + row * stride(out, HEIGHT);
        for (uint32_t column = 0; column < out->shape[WIDTH]; column++) {
            struct taps x = taps_at(&op->window[1], column, in->shape[WIDTH]);
            *(aliased_float *)to = convolve(op, image, weights, bias, &y, &x);
            to += stride(out, WIDTH);
        }
    }
}

void km_conv2d(const struct km_op *op) {
    for (uint32_t batch = 0; batch < op->out.shape[0]; batch++) {
        for (uint32_t channel = 0; channel < op->out.shape[1]; channel++) {
            convolve_channel(op, batch, channel);
        }
    }
}

static float reduce_patch(const struct km_op *op, struct patch patch) {
    float total = op->init;
    float count = (float)(patch.rows * patch.columns);
    for (; patch.rows > 0; patch.rows--, patch.at += patch.row_step) {
        const uint8_t *in = patch.at;
        for (uint32_t i = patch.columns; i > 0; i--, in += patch.step) {
            float value = *(const aliased_float *)in;
            if (op->mode == KM_REDUCE_MAX) {
                total = total < value ? value : total;
            } else if (op->mode == KM_REDUCE_MIN) {
                total = value < total ? value : total;
            } else {
                total += value;
            }
        }
    }
    total = op->mode == KM_REDUCE_MEAN ? total / count : total;
    return km_clamp(total, op->low, op->high);
}

static void reduce_channel(const struct km_op *op, uint32_t batch, uint32_t channel) {
    const struct km_view *in = &op->in[0], *out = &op->out;
    const uint8_t *image = in->data + batch * stride(in, 0) + channel * stride(in, 1);
    uint8_t *plane = out->data + batch * stride(out, 0) + channel * stride(out, 1);
    for (uint32_t row = 0; row < out->shape[HEIGHT]; row++) {
        struct taps y = taps_at(&op->window[0], row, in->shape[HEIGHT]);
        uint8_t *to = plane + row * stride(out, HEIGHT);
        for (uint32_t column = 0; column < out->shape[WIDTH]; column++) {
            struct taps x = taps_at(&op->window[1], column, in->shape[WIDTH]);
            *(aliased_float *)to = reduce_patch(op, patch_at(op, image, &y, &x));
            to += stride(out, WIDTH);
        }
    }
}

void km_reduce_window2d(const struct km_op *op) {
    for (uint32_t batch = 0; batch < op->out.shape[0]; batch++) {
        for (uint32_t channel = 0; channel < op->out.shape[1]; channel++) {
            reduce_channel(op, batch, channel);
        }
    }
}
