#include "layer.h"

#include <stddef.h>

enum {
    WEIGHT_BUFFER_BYTES = 30 * 1024, /* what the KPU holds of a layer's weights */
    MAX_LOADS = 64,
    POOLS = 10,
    BURST = 15,
    CHANNEL_BYTES_MASK = 0xFFFF,
};

/* Of each pooling, by how much it divides height and width. */
static const uint8_t POOL_STRIDE[POOLS] = {1, 2, 2, 4, 4, 2, 2, 4, 1, 1};

struct km_layout km_layout(uint32_t width) {
    if (width <= KPU_ROW_BYTES / 4) {
        return (struct km_layout){4, KPU_ROW_BYTES / 4, 1};
    }
    if (width <= KPU_ROW_BYTES / 2) {
        return (struct km_layout){2, KPU_ROW_BYTES / 2, 1};
    }
    uint32_t rows = (width - 1) / KPU_ROW_BYTES + 1;
    return (struct km_layout){1, 0, rows};
}

uint64_t km_map_bytes(uint32_t channels, uint32_t height, uint32_t width) {
    struct km_layout layout = km_layout(width);
    uint32_t group = channels < layout.group ? channels : layout.group;
    uint32_t factors[] = {(channels - 1) / group + 1, height, layout.rows,
                          KPU_ROW_BYTES};
    return km_product(factors, sizeof factors / sizeof factors[0]);
}

static uint32_t bits(uint64_t word, uint32_t low, uint32_t width) {
    return (uint32_t)(word >> low & ((UINT64_C(1) << width) - 1));
}

/* Puts together the words that a layer of this shape must have. */
static void expected_words(const uint64_t words[KPU_LAYER_WORDS],
                           const struct km_layer *layer, uint32_t coefficients,
                           uint32_t loads, uint32_t load_bytes,
                           uint64_t expected[KPU_LAYER_WORDS]) {
    struct km_layout in = km_layout(layer->in_width);
    struct km_layout out = km_layout(layer->out_width);
    uint64_t plane = (uint64_t)layer->out_width * layer->out_height;
    expected[0] = (uint64_t)layer->depthwise << 3;
    expected[1] = words[1] & 0x00007FFF00007FFF;
    expected[2] = (layer->in_channels - 1) | (uint64_t)(layer->out_channels - 1) << 32 |
                  (uint64_t)(coefficients - 1) << 48;
    expected[3] = (layer->in_width - 1) | (layer->in_height - 1) << 10 |
                  (uint64_t)((layer->out_width - 1) | (layer->out_height - 1) << 10)
                      << 32;
    expected[4] = (words[4] & 0xFF0000F7) | 1 << 10 | BURST << 16;
    expected[5] = 1 | (uint64_t)(loads - 1) << 1 | (uint64_t)load_bytes << 15;
    expected[6] = 0;
    expected[7] = (uint64_t)in.rows * layer->in_height | (uint64_t)in.rows << 16 |
                  (uint64_t)in.group << 28 | UINT64_C(1) << 31;
    expected[8] = (uint64_t)out.rows * layer->out_height | (uint64_t)out.rows << 16 |
                  (uint64_t)out.group << 20;
    expected[9] = words[9] & 0x00FFFFFFFFFFFFFF;
    expected[10] = words[10] & 0x000000FFFFFFFFFF;
    expected[11] = ((plane - 1) & CHANNEL_BYTES_MASK) << 16 |
                   (plane * layer->out_channels - 1) << 32;
}

static void read_shape(const uint64_t words[KPU_LAYER_WORDS], uint32_t stride,
                       struct km_layer *layer) {
    layer->depthwise = bits(words[0], 3, 1) != 0;
    layer->kernel = bits(words[4], 0, 3) != 0 ? 3 : 1;
    layer->out_channels = bits(words[2], 32, 10) + 1;
    layer->in_channels =
        layer->depthwise ? layer->out_channels : bits(words[2], 0, 10) + 1;
    layer->in_width = bits(words[3], 0, 10) + 1;
    layer->in_height = bits(words[3], 10, 9) + 1;
    layer->out_width = layer->in_width / stride;
    layer->out_height = layer->in_height / stride;
    layer->source = bits(words[1], 0, 15) * KPU_ROW_BYTES;
    layer->target = bits(words[1], 32, 15) * KPU_ROW_BYTES;
}

enum kmodel_status km_read_layer(const uint64_t words[KPU_LAYER_WORDS],
                                 struct km_layer *layer) {
    uint32_t pool = bits(words[4], 4, 4);
    if (bits(words[4], 0, 3) > 1 || pool >= POOLS) {
        return KMODEL_BAD_LAYER;
    }
    read_shape(words, POOL_STRIDE[pool], layer);
    if (layer->out_width == 0 || layer->out_height == 0) {
        return KMODEL_BAD_LAYER;
    }
    uint32_t inputs = layer->depthwise ? 1 : layer->in_channels;
    uint32_t each = layer->kernel * layer->kernel * inputs;
    uint32_t most = layer->depthwise ? layer->out_channels : WEIGHT_BUFFER_BYTES / each;
    uint32_t coefficients = most < layer->out_channels ? most : layer->out_channels;
    uint32_t loads = (layer->out_channels - 1) / coefficients + 1;
    if (loads > MAX_LOADS) {
        return KMODEL_TOO_MANY_LOADS;
    }
    uint64_t expected[KPU_LAYER_WORDS];
    expected_words(words, layer, coefficients, loads, coefficients * each, expected);
    for (uint32_t i = 0; i < KPU_LAYER_WORDS; i++) {
        if (words[i] != expected[i]) {
            return KMODEL_BAD_LAYER;
        }
    }
    layer->weights_bytes = each * layer->out_channels;
    layer->source_bytes =
        (uint32_t)km_map_bytes(layer->in_channels, layer->in_height, layer->in_width);
    layer->target_bytes = (uint32_t)km_map_bytes(layer->out_channels, layer->out_height,
                                                 layer->out_width);
    return KMODEL_OK;
}
