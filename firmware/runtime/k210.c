/*
 * The code of the k210 module: a plain sequence of records, each an opcode byte, three
 * bytes that nobody reads, then 32-bit fields (nncase 1.9's kpu_*_options).
 */
#include "k210.h"
#include "loop.h"

#include <stddef.h>
#include <string.h>

enum {
    UPLOAD,
    DOWNLOAD,
    CONV2D,
    COPY,
    OPCODE_PADDING = 3,
    RANGE_BYTES = 12,
    BATCH_NORM_BYTES = 8,
    ACTIVATION_BYTES = 144,
    SEGMENTS = 16,
    MAX_SHIFT = 43, /* of an activation segment */
};

/* The bits of a batch norm entry or an activation segment that mean something. */
static const uint64_t TABLE_MASK = (UINT64_C(1) << 60) - 1;

/* A constant of a layer: `size` bytes of .rdata. */
static bool is_constant(const struct km_k210 *decoder, const struct km_range *range,
                        enum kmodel_type type, uint32_t size, uint32_t alignment) {
    uint32_t limit = decoder->state->k210.rdata_size;
    return range->location == KM_RDATA && range->type == type && range->size == size &&
           range->start <= limit && size <= limit - range->start &&
           range->start % alignment == 0;
}

/* The three constants of a layer, in the order of the file. */
enum { WEIGHTS, BATCH_NORM, ACTIVATION, CONSTANTS };

static bool check_constants(const struct km_k210 *decoder, const struct km_layer *layer,
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

static void place_tables(const struct km_k210 *decoder, const struct km_layer *layer,
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
static enum kmodel_status run_layer(const struct km_k210 *decoder,
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
    uint32_t shape[KM_NCHW] = {batches, layer->out_channels, layer->out_height,
                               layer->out_width};
    km_tell_map(decoder, layer->target, shape);
    return KMODEL_OK;
}

static enum kmodel_status check_maps(struct km_state *state,
                                     const struct km_layer *layer, uint32_t batches) {
    if (!km_find_map(state, layer->source, batches, layer->source_bytes) ||
        !km_find_map(state, layer->target, batches, layer->target_bytes)) {
        return KMODEL_OUT_OF_BOUNDS;
    }
    uint32_t source_end = layer->source + batches * layer->source_bytes;
    uint32_t target_end = layer->target + batches * layer->target_bytes;
    bool apart = source_end <= layer->target || target_end <= layer->source;
    return apart ? KMODEL_OK : KMODEL_OVERLAP;
}

static enum kmodel_status conv2d(struct km_k210 *decoder) {
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

static enum kmodel_status step(struct km_k210 *decoder) {
    uint8_t opcode = km_u8(&decoder->reader);
    km_take(&decoder->reader, OPCODE_PADDING);
    switch (opcode) {
    case UPLOAD:
        return km_transfer(decoder, true);
    case DOWNLOAD:
        return km_transfer(decoder, false);
    case CONV2D:
        return conv2d(decoder);
    case COPY:
        return km_k210_copy(decoder);
    default:
        return KMODEL_UNSUPPORTED;
    }
}

enum kmodel_status km_k210_run(struct km_state *state, uint32_t number,
                               const struct km_argument *inputs,
                               const struct kmodel_view *outputs) {
    uint32_t start = state->k210.text + state->callee.entrypoint;
    struct km_reader reader = {state->image, start, start + state->callee.text_size,
                               false};
    struct km_k210 decoder = {state, reader, number, 0, inputs, outputs};
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
