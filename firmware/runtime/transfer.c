/*
 * Transfers of the k210 module: between ordinary memory and KPU RAM, whose rows of 64
 * bytes hold lines of one, two or four channels, and strided copies in ordinary memory.
 */
#include "k210.h"
#include "loop.h"

#include <stddef.h>
#include <string.h>

/* A map in ordinary memory, with strides in bytes. */
struct plain {
    uint8_t *data;
    uint32_t strides[KM_NCHW];
};

/* A transfer between two places, or two layouts. */
struct transfer {
    struct km_range source, target;
    uint32_t shape[KM_NCHW];
};

static bool read_transfer(struct km_k210 *decoder, struct transfer *transfer) {
    bool ranges = km_read_range(&decoder->reader, &transfer->source);
    ranges &= km_read_range(&decoder->reader, &transfer->target);
    bool whole = true;
    for (uint32_t i = 0; i < KM_NCHW; i++) {
        transfer->shape[i] = km_u32(&decoder->reader);
        whole &= transfer->shape[i] > 0;
    }
    return ranges && whole && transfer->source.type == KMODEL_U8 &&
           transfer->target.type == KMODEL_U8;
}

/* A tensor of the function, and what a call has bound to it. */
struct bound {
    const struct km_tensor *tensor;
    const uint8_t *data;
    const uint32_t *strides;
};

/* The input or output that starts where a range does; false if there is none. */
static bool find_bound(const struct km_k210 *decoder, const struct km_range *range,
                       struct bound *bound) {
    const struct km_function *callee = &decoder->state->callee;
    bool input = range->location == KM_INPUT;
    uint32_t count = input ? callee->inputs : callee->outputs;
    const struct km_tensor *tensors = input ? callee->input : callee->output;
    uint32_t i = 0;
    while (i < count && tensors[i].range.start != range->start) {
        i++;
    }
    if (i == count) {
        return false;
    }
    bound->tensor = &tensors[i];
    bound->data = input ? decoder->inputs[i].data : decoder->outputs[i].data;
    bound->strides = input ? decoder->inputs[i].strides : decoder->outputs[i].strides;
    return true;
}

/* Whether strides are those of a dense tensor, where they matter. */
static bool is_dense(const struct km_tensor *tensor, const uint32_t *strides) {
    uint32_t dense[KMODEL_MAX_RANK];
    bool same = true;
    km_dense_strides(tensor->shape, tensor->rank, dense);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        same &= tensor->shape[i] == 1 || strides[i] == dense[i];
    }
    return same;
}

/* A strided argument can only be read or written as the tensor that it is. */
static bool use_strides(const struct bound *bound, const uint32_t *shape,
                        const uint32_t *strides, struct plain *plain) {
    const struct km_tensor *tensor = bound->tensor;
    if (is_dense(tensor, bound->strides)) {
        memcpy(plain->strides, strides, sizeof plain->strides);
        return true;
    }
    uint32_t dense[KM_NCHW];
    km_dense_strides(shape, KM_NCHW, dense);
    memcpy(plain->strides, bound->strides, sizeof plain->strides);
    return tensor->rank == KM_NCHW && memcmp(tensor->shape, shape, sizeof dense) == 0 &&
           memcmp(strides, dense, sizeof dense) == 0;
}

/* A map in ordinary memory, checked to lie within it. */
static bool find_plain(const struct km_k210 *decoder, const struct km_range *range,
                       const uint32_t *shape, const uint32_t *strides, bool write,
                       struct plain *plain) {
    const struct km_state *state = decoder->state;
    uint64_t extent = km_extent(shape, strides, KM_NCHW);
    if (range->size != km_product(shape, KM_NCHW)) {
        return false;
    }
    if (range->location == KM_DATA) {
        uint32_t pool = state->k210.data_pool;
        plain->data = state->k210_data == NULL || range->start > pool
                          ? NULL
                          : state->k210_data + range->start;
        memcpy(plain->strides, strides, sizeof plain->strides);
        return range->start <= pool && extent <= pool - range->start;
    }
    bool allowed =
        range->location == KM_OUTPUT || (range->location == KM_INPUT && !write);
    struct bound bound;
    if (!allowed || !find_bound(decoder, range, &bound) ||
        extent > bound.tensor->range.size) {
        return false;
    }
    plain->data = (uint8_t *)(uintptr_t)bound.data;
    return use_strides(&bound, shape, strides, plain);
}

/* Maps, one per batch, in KPU RAM: checked to lie within it. */
bool km_find_map(struct km_state *state, uint32_t start, uint32_t batches,
                 uint64_t bytes) {
    bool fits = start % KPU_ROW_BYTES == 0 && start <= KPU_RAM_BYTES &&
                bytes <= KPU_RAM_BYTES && batches <= KPU_RAM_BYTES &&
                bytes * batches <= KPU_RAM_BYTES - start;
    if (fits && start + bytes * batches > state->kpu_ram) {
        state->kpu_ram = (uint32_t)(start + bytes * batches);
    }
    return fits;
}

static bool find_transfer_map(struct km_state *state, const struct km_range *range,
                              const uint32_t *shape) {
    uint64_t bytes = km_map_bytes(shape[1], shape[2], shape[3]);
    return range->location == KM_KPU &&
           km_find_map(state, range->start, shape[0], bytes) &&
           range->size == bytes * shape[0];
}

void km_tell_map(const struct km_k210 *decoder, uint32_t start, const uint32_t *shape) {
    const struct km_state *state = decoder->state;
    struct kmodel_view view = {.type = KMODEL_U8, .rank = KM_NCHW, .map = true};
    view.data = state->run->kpu->ram + start;
    memcpy(view.shape, shape, KM_NCHW * sizeof shape[0]);
    km_tell(state, decoder->number, decoder->index, &view, 1);
}

static void tell_plain(const struct km_k210 *decoder, const struct plain *plain,
                       const uint32_t *shape) {
    struct kmodel_view view = {.data = plain->data, .type = KMODEL_U8, .rank = KM_NCHW};
    memcpy(view.shape, shape, KM_NCHW * sizeof shape[0]);
    memcpy(view.strides, plain->strides, sizeof plain->strides);
    km_tell(decoder->state, decoder->number, decoder->index, &view, 1);
}

/* Whether nothing but the order of channels differs: one long copy. */
static bool is_flat(const uint32_t *shape, const uint32_t *strides) {
    uint32_t dense[KM_NCHW];
    km_dense_strides(shape, KM_NCHW, dense);
    return shape[3] % KPU_ROW_BYTES == 0 && memcmp(dense, strides, sizeof dense) == 0;
}

/* Moves the lines of one channel between KPU RAM and ordinary memory. */
static void move_channel(uint8_t *map, uint32_t line_bytes, const struct plain *plain,
                         uint8_t *data, const uint32_t *shape, bool upload) {
    ptrdiff_t step = (ptrdiff_t)plain->strides[3];
    ptrdiff_t line = (ptrdiff_t)plain->strides[2];
    if (step == 1 && upload) {
        km_copy_lines(map, line_bytes, data, line, shape[3], shape[2]);
    } else if (step == 1) {
        km_copy_lines(data, line, map, line_bytes, shape[3], shape[2]);
    } else {
        for (uint32_t y = 0; y < shape[2]; y++, map += line_bytes, data += line) {
            km_copy_row(upload ? map : data, upload ? 1 : step, upload ? data : map,
                        upload ? step : 1, 1, shape[3]);
        }
    }
}

static void move_batch(uint8_t *map, const struct plain *plain, uint8_t *data,
                       const uint32_t *shape, bool upload) {
    struct km_layout layout = km_layout(shape[3]);
    uint32_t line_bytes = layout.rows * KPU_ROW_BYTES;
    uint32_t in_group = 0;
    for (uint32_t c = 0; c < shape[1]; c++) {
        move_channel(map + in_group * layout.pitch, line_bytes, plain, data, shape,
                     upload);
        data += plain->strides[1];
        if (++in_group == layout.group) {
            in_group = 0;
            map += shape[2] * line_bytes;
        }
    }
}

static void move_map(uint8_t *map, const struct plain *plain, const uint32_t *shape,
                     bool upload) {
    uint32_t batch_bytes = (uint32_t)km_map_bytes(shape[1], shape[2], shape[3]);
    if (is_flat(shape, plain->strides)) {
        uint32_t bytes = batch_bytes * shape[0];
        km_copy_bytes(upload ? map : plain->data, upload ? plain->data : map, bytes);
        return;
    }
    for (uint32_t n = 0; n < shape[0]; n++) {
        move_batch(map + n * batch_bytes, plain,
                   plain->data + (size_t)n * plain->strides[0], shape, upload);
    }
}

enum kmodel_status km_transfer(struct km_k210 *decoder, bool upload) {
    struct km_state *state = decoder->state;
    struct transfer transfer;
    struct plain plain;
    if (!read_transfer(decoder, &transfer)) {
        return KMODEL_BAD_CODE;
    }
    const struct km_range *map = upload ? &transfer.target : &transfer.source;
    const struct km_range *other = upload ? &transfer.source : &transfer.target;
    uint32_t dense[KM_NCHW];
    km_dense_strides(transfer.shape, KM_NCHW, dense);
    if (!find_plain(decoder, other, transfer.shape, dense, !upload, &plain) ||
        !find_transfer_map(state, map, transfer.shape)) {
        return KMODEL_OUT_OF_BOUNDS;
    }
    km_add_work(state, other->size);
    if (state->run == NULL) {
        return KMODEL_OK;
    }
    km_tell(state, decoder->number, decoder->index, NULL, 0);
    move_map(state->run->kpu->ram + map->start, &plain, transfer.shape, upload);
    if (upload) {
        km_tell_map(decoder, map->start, transfer.shape);
    } else {
        tell_plain(decoder, &plain, transfer.shape);
    }
    return KMODEL_OK;
}

enum kmodel_status km_k210_copy(struct km_k210 *decoder) {
    struct km_state *state = decoder->state;
    struct transfer transfer;
    struct plain source, target;
    bool whole = read_transfer(decoder, &transfer);
    uint32_t strides[2][KM_NCHW];
    for (uint32_t i = 0; i < 2 * KM_NCHW; i++) {
        strides[i / KM_NCHW][i % KM_NCHW] = km_u32(&decoder->reader);
    }
    if (!whole || decoder->reader.failed) {
        return KMODEL_BAD_CODE;
    }
    const uint32_t *shape = transfer.shape;
    if (!find_plain(decoder, &transfer.source, shape, strides[0], false, &source) ||
        !find_plain(decoder, &transfer.target, shape, strides[1], true, &target)) {
        return KMODEL_OUT_OF_BOUNDS;
    }
    if (!km_add_work(state, transfer.source.size) || state->run == NULL) {
        return KMODEL_OK;
    }
    km_tell(state, decoder->number, decoder->index, NULL, 0);
    struct km_loop loop;
    km_loop_start(&loop, shape, KM_NCHW);
    km_loop_add(&loop, source.data, source.strides, 1);
    km_loop_add(&loop, target.data, target.strides, 1);
    km_loop_begin(&loop);
    do {
        km_copy_row(loop.at[1], loop.step[1], loop.at[0], loop.step[0], 1, loop.row);
    } while (km_loop_next(&loop));
    tell_plain(decoder, &target, shape);
    return KMODEL_OK;
}
