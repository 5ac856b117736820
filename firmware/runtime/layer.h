/**
 * The twelve words of a KPU layer: what they mean and whether they agree.
 *
 * Facts: the K210 SDK's kpu_layer_argument_t and nncase 1.9's emitter. What one field
 * says twice (row switches, weight loads, DMA counts) is recomputed and compared.
 */
#ifndef KM_LAYER_H
#define KM_LAYER_H

#include "model.h"

/** Shape and placement of a layer; addresses in bytes of KPU RAM. */
struct km_layer {
    bool depthwise;
    uint32_t kernel; /**< 1 or 3 */
    uint32_t in_channels, in_height, in_width;
    uint32_t out_channels, out_height, out_width;
    uint32_t source, target;
    uint32_t source_bytes, target_bytes; /**< of one batch */
    uint32_t weights_bytes;
};

/** How maps of one width lie in KPU RAM. */
struct km_layout {
    uint32_t group; /**< channels that share a row */
    uint32_t pitch; /**< bytes from one of them to the next */
    uint32_t rows;  /**< rows that one line of an image takes */
};

/** The layout of maps of a width. */
struct km_layout km_layout(uint32_t width);

/** Bytes of KPU RAM that one map takes; UINT64_MAX for more than can be. */
uint64_t km_map_bytes(uint32_t channels, uint32_t height, uint32_t width);

/** Reads the words of a layer and checks each field. */
enum kmodel_status km_read_layer(const uint64_t words[KPU_LAYER_WORDS],
                                 struct km_layer *layer);

#endif
