/**
 * The decoder of the k210 module, shared by its layers and its transfers.
 */
#ifndef KM_K210_H
#define KM_K210_H

#include "layer.h"

enum { KM_NCHW = 4 };

/** What is being decoded: function `number`, with its arguments bound. */
struct km_k210 {
    struct km_state *state;
    struct km_reader reader;
    uint32_t number;
    uint32_t index;
    const struct km_argument *inputs;
    const struct kmodel_view *outputs;
};

/** Whether maps, one per batch, lie within KPU RAM at `start`. */
bool km_find_map(struct km_state *state, uint32_t start, uint32_t batches,
                 uint64_t bytes);

/** Tells the hook that a map in KPU RAM has been written. */
void km_tell_map(const struct km_k210 *decoder, uint32_t start, const uint32_t *shape);

/** kpu_upload, or kpu_download: decodes it and, while the model runs, executes it. */
enum kmodel_status km_transfer(struct km_k210 *decoder, bool upload);

/** copy: decodes it and, while the model runs, executes it. */
enum kmodel_status km_k210_copy(struct km_k210 *decoder);

#endif
