/**
 * The KPU as the kmodel runtime sees it: its RAM and a way to run one layer.
 *
 * The runtime knows nothing of registers or caches. On the chip drivers/kpu_device.c
 * fills this in; on a host anything that computes as the KPU does.
 */
#ifndef KPU_H
#define KPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KPU_RAM_BYTES (2u * 1024 * 1024)
#define KPU_ROW_BYTES 64u
#define KPU_LAYER_WORDS 12u
/** Size and alignment of an activation table; only 144 bytes of it mean something. */
#define KPU_ACTIVATION_BYTES 256u

/**
 * One layer: the twelve words of its argument, and what three of them point to.
 *
 * The address fields of the words (batch norm, weights, activation table) and the
 * interrupt enable are 0; the driver fills them in.
 */
struct kpu_layer {
    uint64_t words[KPU_LAYER_WORDS];
    const void *weights;
    const void *batch_norm;
    const void *activation;
};

/** A KPU. */
struct kpu {
    /** Given back to the functions below. */
    void *context;
    /** Its RAM, KPU_RAM_BYTES as the processor addresses them, past any cache. */
    uint8_t *ram;
    /** Runs one layer to its end; false if the KPU does not finish it. */
    bool (*run)(void *context, const struct kpu_layer *layer);
    /** The address at which memory that the KPU reads is to be written. */
    void *(*uncached)(void *context, const void *address);
};

#endif
