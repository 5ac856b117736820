/*
 * The code of the k210 module: a plain sequence of records, each an opcode byte, three
 * bytes that nobody reads, then 32-bit fields (nncase 1.9's kpu_*_options).
 */
#include "layer.h"
#include "loop.h"

#include <stddef.h>
#include <string.h>

enum {
    UPLOAD,
    DOWNLOAD,
    CONV2D,
    COPY,
    OPCODE_PADDING = 3,
    NCHW = 4,
    RANGE_BYTES = 12,
    BATCH_NORM_BYTES = 8,
    ACTIVATION_BYTES = 144,
    SEGMENTS = 16,
    MAX_SHIFT = 43, /* of an activation segment */
};

/* The bits of a batch norm entry or an activation segment that mean something. */
static const uint64_t TABLE_MASK = (UINT64_C(1) << 60) - 1;

/* What is being decoded: function `number`, with its arguments bound. */
struct decoder {
    struct km_state *state;
    struct km_reader reader;
    uint32_t number;
    uint32_t index;
    const struct km_argument *inputs, *outputs;
};

/* A map in ordinary memory, with strides in bytes. */
struct plain {
    uint8_t *data;
    uint32_t strides[NCHW];
};

/* A transfer between two places, or two layouts. */
struct transfer {
    struct km_range source, target;
    uint32_t shape[NCHW];
};

static bool read_transfer(struct decoder *decoder, struct transfer *transfer) {
    bool ranges = km_read_range(&decoder->reader, &transfer->source);
    ranges &= km_read_range(&decoder->reader, &transfer->target);
    bool whole = true;
    for (uint32_t i = 0; i < NCHW; i++) {
        transfer->shape[i] = km_u32(&decoder->reader);
        whole &= transfer->shape[i] > 0;
    }
    return ranges && whole && transfer->source.type == KMODEL_U8 &&
           transfer->target.type == KMODEL_U8;
}

/* The argument bound to the input or output that starts where a range does. */
static const struct km_argument *argument_at(const struct decoder *decoder,
                                             const struct km_range *range,
                                             const struct km_tensor **tensor) {
    const struct km_function *callee = &decoder->state->callee;
    bool input = range->location == KM_INPUT;
    uint32_t count = input ? callee->inputs : callee->outputs;
    const struct km_tensor *tensors = input ? callee->input : callee->output;
    for (uint32_t i = 0; i < count; i++) {
        if (tensors[i].range.start == range->start) {
            *tensor = &tensors[i];
            return input ? &decoder->inputs[i] : &decoder->outputs[i];
        }
    }
    return NULL;
}

/* A strided argument can only be read or written as the tensor that it is. */
static bool use_strides(const struct km_argument *argument,
                        const struct km_tensor *tensor, const uint32_t *shape,
                        const uint32_t *strides, struct plain *plain) {
    if (argument->dense) {
        memcpy(plain->strides, strides, sizeof plain->strides);
        return true;
    }
    uint32_t dense[NCHW];
    km_dense_strides(shape, NCHW, dense);
    memcpy(plain->strides, argument->strides, sizeof plain->strides);
    return tensor->rank == NCHW && memcmp(tensor->shape, shape, sizeof dense) == 0 &&
           memcmp(strides, dense, sizeof dense) == 0;
}

/* A map in ordinary memory, checked to lie within it. */
static bool find_plain(const struct decoder *decoder, const struct km_range *range,
                       const uint32_t *shape, const uint32_t *strides, bool write,
                       struct plain *plain) {
    const struct km_state *state = decoder->state;
    uint64_t extent = km_extent(shape, strides, NCHW);
    if (range->size != km_product(shape, NCHW)) {
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
    const struct km_tensor *tensor = NULL;
    const struct km_argument *argument =
        allowed ? argument_at(decoder, range, &tensor) : NULL;
    if (argument == NULL || extent > tensor->range.size) {
        return false;
    }
    plain->data = argument->data;
    return use_strides(argument, tensor, shape, strides, plain);
}

/* Maps, one per batch, in KPU RAM: checked to lie within it. */
static bool find_map(struct km_state *state, uint32_t start, uint32_t batches,
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
           find_map(state, range->start, shape[0], bytes) &&
           range->size == bytes * shape[0];
}

static void tell_map(const struct decoder *decoder, uint32_t start,
                     const uint32_t *shape) {
    const struct km_state *state = decoder->state;
    struct kmodel_view view = {.type = KMODEL_U8, .rank = NCHW, .map = true};
    view.data = state->run->kpu->ram + start;
    memcpy(view.shape, shape, NCHW * sizeof shape[0]);
    km_tell(state, decoder->number, decoder->index, &view, 1);
}

static void tell_plain(const struct decoder *decoder, const struct plain *plain,
                       const uint32_t *shape) {
    struct kmodel_view view = {.data = plain->data, .type = KMODEL_U8, .rank = NCHW};
    memcpy(view.shape, shape, NCHW * sizeof shape[0]);
    memcpy(view.strides, plain->strides, sizeof plain->strides);
    km_tell(decoder->state, decoder->number, decoder->index, &view, 1);
}

/* Whether nothing but the order of channels differs: one long copy. */
static bool is_flat(const uint32_t *shape, const uint32_t *strides) {
    uint32_t dense[NCHW];
    km_dense_strides(shape, NCHW, dense);
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

static enum kmodel_status transfer(struct decoder *decoder, bool upload) {
    struct km_state *state = decoder->state;
    struct transfer transfer;
    struct plain plain;
    if (!read_transfer(decoder, &transfer)) {
        return KMODEL_BAD_CODE;
    }
    const struct km_range *map = upload ? &transfer.target : &transfer.source;
    const struct km_range *other = upload ? &transfer.source : &transfer.target;
    uint32_t dense[NCHW];
    km_dense_strides(transfer.shape, NCHW, dense);
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
        tell_map(decoder, map->start, transfer.shape);
    } else {
        tell_plain(decoder, &plain, transfer.shape);
    }
    return KMODEL_OK;
}

static enum kmodel_status copy(struct decoder *decoder) {
    struct km_state *state = decoder->state;
    struct transfer transfer;
    struct plain source, target;
    bool whole = read_transfer(decoder, &transfer);
    uint32_t strides[2][NCHW];
    for (uint32_t i = 0; i < 2 * NCHW; i++) {
        strides[i / NCHW][i % NCHW] = km_u32(&decoder->reader);
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
    km_loop_start(&loop, shape, NCHW);
    km_loop_add(&loop, source.data, source.strides, 1);
    km_loop_add(&loop, target.data, target.strides, 1);
    km_loop_begin(&loop);
    do {
        km_copy_row(loop.at[1], loop.step[1], loop.at[0], loop.step[0], 1, loop.row);
    } while (km_loop_next(&loop));
    tell_plain(decoder, &target, shape);
    return KMODEL_OK;
}

/* A constant of a layer: `size` bytes of .rdata. */
static bool is_constant(const struct decoder *decoder, const struct km_range *range,
                        enum kmodel_type type, uint32_t size, uint32_t alignment) {
    uint32_t limit = decoder->state->k210.rdata_size;
    return range->location == KM_RDATA && range->type == type && range->size == size &&
           range->start <= limit && size <= limit - range->start &&
           range->start % alignment == 0;
}

/* The three constants of a layer, in the order of the file. */
enum { WEIGHTS, BATCH_NORM, ACTIVATION, CONSTANTS };

static bool check_constants(const struct decoder *decoder, const struct km_layer *layer,
                            const struct km_range constants[CONSTANTS]) {
    uint32_t batch_norm = layer->out_channels * BATCH_NORM_BYTES;
    if (!is_constant(decoder, &constants[WEIGHTS], KMODEL_U8, layer->weights_bytes,
                     8) ||
        !is_constant(decoder, &constants[BATCH_NORM], KMODEL_U64, batch_norm, 8) ||
        !is_constant(decoder, &constants[ACTIVATION], KMODEL_U8, ACTIVATION_BYTES,
                     KMODEL_ALIGNMENT)) {
        return false;
    }
    const struct km_state *state = decoder->state;
    const uint8_t *table =
        state->image + state->k210.rdata + constants[ACTIVATION].start;
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        if (table[i * sizeof(uint64_t)] > MAX_SHIFT) {
            return false;
        }
    }
    return true;
}

/* Copies 64-bit entries without the garbage in their top four bits. */
static void copy_entries(uint64_t *target, const uint8_t *source, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t entry;
        memcpy(&entry, source + i * sizeof entry, sizeof entry);
        target[i] = entry & TABLE_MASK;
    }
}

static void place_tables(const struct decoder *decoder, const struct km_layer *layer,
                         const struct km_range constants[CONSTANTS],
                         struct kpu_layer *run) {
    const struct km_state *state = decoder->state;
    const struct kpu *kpu = state->run->kpu;
    const uint8_t *rdata = state->image + state->k210.rdata;
    const uint8_t *activation = rdata + constants[ACTIVATION].start;
    uint8_t *tables = kpu->uncached(kpu->context, state->tables);
    run->weights = rdata + constants[WEIGHTS].start;
    run->activation = state->tables;
    run->batch_norm = state->tables + KPU_ACTIVATION_BYTES;
    copy_entries((uint64_t *)(void *)tables, activation, SEGMENTS);
    uint32_t segments = SEGMENTS * sizeof(uint64_t);
    km_copy_bytes(tables + segments, activation + segments, SEGMENTS);
    copy_entries((uint64_t *)(void *)(tables + KPU_ACTIVATION_BYTES),
                 rdata + constants[BATCH_NORM].start, layer->out_channels);
}

/* Runs a layer once for each batch, from map to map. */
static enum kmodel_status run_layer(const struct decoder *decoder,
                                    const struct km_layer *layer, uint32_t batches,
                                    struct kpu_layer *run) {
    const struct kpu *kpu = decoder->state->run->kpu;
    for (uint32_t i = 0; i < batches; i++) {
        if (!kpu->run(kpu->context, run)) {
            return KMODEL_KPU_FAILED;
        }
        run->words[1] += layer->source_bytes / KPU_ROW_BYTES |
                         (uint64_t)(layer->target_bytes / KPU_ROW_BYTES) << 32;
    }
    uint32_t shape[NCHW] = {batches, layer->out_channels, layer->out_height,
                            layer->out_width};
    tell_map(decoder, layer->target, shape);
    return KMODEL_OK;
}

static enum kmodel_status check_maps(struct km_state *state,
                                     const struct km_layer *layer, uint32_t batches) {
    if (!find_map(state, layer->source, batches, layer->source_bytes) ||
        !find_map(state, layer->target, batches, layer->target_bytes)) {
        return KMODEL_OUT_OF_BOUNDS;
    }
    uint32_t source_end = layer->source + batches * layer->source_bytes;
    uint32_t target_end = layer->target + batches * layer->target_bytes;
    bool apart = source_end <= layer->target || target_end <= layer->source;
    return apart ? KMODEL_OK : KMODEL_OVERLAP;
}

static enum kmodel_status conv2d(struct decoder *decoder) {
    struct km_state *state = decoder->state;
    struct km_range constants[CONSTANTS];
    struct kpu_layer run;
    struct km_layer layer;
    bool ranges = true;
    for (uint32_t i = 0; i < CONSTANTS; i++) {
        ranges &= km_read_range(&decoder->reader, &constants[i]);
    }
    bool no_output = km_zeros(&decoder->reader, RANGE_BYTES);
    uint32_t batches = km_u32(&decoder->reader);
    for (uint32_t i = 0; i < KPU_LAYER_WORDS; i++) {
        run.words[i] = km_u64(&decoder->reader);
    }
    if (!ranges || !no_output || batches == 0 || decoder->reader.failed) {
        return KMODEL_BAD_CODE;
    }
    enum kmodel_status status = km_read_layer(run.words, &layer);
    if (status == KMODEL_OK) {
        status = check_maps(state, &layer, batches);
    }
    if (status == KMODEL_OK && !check_constants(decoder, &layer, constants)) {
        status = KMODEL_BAD_LAYER;
    }
    if (status != KMODEL_OK) {
        return status;
    }
    uint64_t cycles = (uint64_t)batches * layer.source_bytes / KPU_ROW_BYTES;
    km_add_work(state, cycles * (layer.depthwise ? 1 : layer.out_channels));
    if (state->run == NULL) {
        return KMODEL_OK;
    }
    km_tell(state, decoder->number, decoder->index, NULL, 0);
    place_tables(decoder, &layer, constants, &run);
    return run_layer(decoder, &layer, batches, &run);
}

static enum kmodel_status step(struct decoder *decoder) {
    uint8_t opcode = km_u8(&decoder->reader);
    km_take(&decoder->reader, OPCODE_PADDING);
    switch (opcode) {
    case UPLOAD:
        return transfer(decoder, true);
    case DOWNLOAD:
        return transfer(decoder, false);
    case CONV2D:
        return conv2d(decoder);
    case COPY:
        return copy(decoder);
    default:
        return KMODEL_UNSUPPORTED;
    }
}

enum kmodel_status km_k210_run(struct km_state *state, uint32_t number,
                               const struct km_argument *inputs,
                               const struct km_argument *outputs) {
    uint32_t start = state->k210.text + state->callee.entrypoint;
    struct km_reader reader = {state->image, start, start + state->callee.text_size,
                               false};
    struct decoder decoder = {state, reader, number, 0, inputs, outputs};
    while (km_left(&decoder.reader) > 0) {
        state->error_offset = decoder.reader.at;
        enum kmodel_status status = step(&decoder);
        if (decoder.reader.failed) {
            status = KMODEL_TRUNCATED;
        } else if (status == KMODEL_OK && state->work > KMODEL_MAX_WORK) {
            status = KMODEL_TOO_LONG;
        }
        if (status != KMODEL_OK) {
            return status;
        }
        decoder.index++;
    }
    return KMODEL_OK;
}
