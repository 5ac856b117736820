/* Resizing of NCHW images, nearest or bilinear, as nncase computes positions. */
#include "op.h"
#include "real.h"

typedef float __attribute__((may_alias)) aliased_float;

enum { HEIGHT = 2, WIDTH = 3 };

/* Where an output position falls between two input positions. */
struct between {
    float at;
    uint32_t low, high;
};

static float scale_of(const struct km_op *op, uint32_t axis) {
    uint32_t in = op->in[0].shape[axis], out = op->out.shape[axis];
    bool corners = op->align_corners && out > 1;
    return corners ? (float)(in - 1) / (float)(out - 1) : (float)in / (float)out;
}

static uint32_t limit(int32_t position, uint32_t length) {
    uint32_t at = position < 0 ? 0 : (uint32_t)position;
    return at < length ? at : length - 1;
}

static struct between between_at(const struct km_op *op, uint32_t axis, float scale,
                                 uint32_t position) {
    uint32_t length = op->in[0].shape[axis];
    float at = op->half_pixel ? ((float)position + 0.5f) * scale - 0.5f
                              : (float)position * scale;
    return (struct between){at, limit(km_floor(at), length),
                            limit(km_ceil(at), length)};
}

static uint32_t nearest_at(const struct km_op *op, uint32_t axis, float scale,
                           uint32_t position) {
    float at = ((float)position + (op->half_pixel ? 0.5f : 0.0f)) * scale;
    int32_t nearest = op->align_corners ? km_round(at) : km_floor(at);
    return limit(nearest, op->in[0].shape[axis]);
}

static ptrdiff_t stride(const struct km_view *view, uint32_t axis) {
    return (ptrdiff_t)view->strides[axis] * (ptrdiff_t)km_type_size(view->type);
}

static float value_at(const struct km_view *view, const uint8_t *row, uint32_t column) {
    const uint8_t *at = row + column * stride(view, WIDTH);
    return view->type == KMODEL_F32 ? *(const aliased_float *)at : (float)*at;
}

static void put(const struct km_view *view, uint8_t *at, float value) {
    if (view->type == KMODEL_F32) {
        *(aliased_float *)at = value;
    } else {
        *at = (uint8_t)(int32_t)(value + 0.5f);
    }
}

static void bilinear_row(const struct km_op *op, const uint8_t *image,
                         const struct between *y, uint8_t *to) {
    const struct km_view *in = &op->in[0];
    const uint8_t *low = image + y->low * stride(in, HEIGHT);
    const uint8_t *high = image + y->high * stride(in, HEIGHT);
    float scale = scale_of(op, WIDTH);
    float dy = y->at - (float)y->low;
    for (uint32_t column = 0; column < op->out.shape[WIDTH]; column++) {
        struct between x = between_at(op, WIDTH, scale, column);
        float dx = x.at - (float)x.low;
        float value = value_at(in, low, x.low) * ((1 - dy) * (1 - dx)) +
                      value_at(in, high, x.low) * (dy * (1 - dx)) +
                      value_at(in, low, x.high) * ((1 - dy) * dx) +
                      value_at(in, high, x.high) * (dy * dx);
        put(&op->out, to + column * stride(&op->out, WIDTH), value);
    }
}

static void nearest_row(const struct km_op *op, const uint8_t *row, uint8_t *to) {
    const struct km_view *in = &op->in[0], *out = &op->out;
    float scale = scale_of(op, WIDTH);
    for (uint32_t column = 0; column < out->shape[WIDTH]; column++) {
        const uint8_t *from =
            row + nearest_at(op, WIDTH, scale, column) * stride(in, WIDTH);
        if (out->type == KMODEL_F32) {
            *(aliased_float *)to = *(const aliased_float *)from;
        } else {
            *to = *from;
        }
        to += stride(out, WIDTH);
    }
}

static void resize_channel(const struct km_op *op, const uint8_t *image,
                           uint8_t *plane) {
    const struct km_view *in = &op->in[0], *out = &op->out;
    float scale = scale_of(op, HEIGHT);
    for (uint32_t row = 0; row < out->shape[HEIGHT]; row++) {
        uint8_t *to = plane + row * stride(out, HEIGHT);
        if (op->mode == KM_BILINEAR) {
            struct between y = between_at(op, HEIGHT, scale, row);
            bilinear_row(op, image, &y, to);
        } else {
            uint32_t from = nearest_at(op, HEIGHT, scale, row);
            nearest_row(op, image + from * stride(in, HEIGHT), to);
        }
    }
}

void km_resize_image(const struct km_op *op) {
    const struct km_view *in = &op->in[0], *out = &op->out;
    for (uint32_t batch = 0; batch < out->shape[0]; batch++) {
        for (uint32_t channel = 0; channel < out->shape[1]; channel++) {
            resize_channel(
                op, in->data + batch * stride(in, 0) + channel * stride(in, 1),
                out->data + batch * stride(out, 0) + channel * stride(out, 1));
        }
    }
}
