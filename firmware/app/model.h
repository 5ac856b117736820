/**
 * The model that the firmware holds: its memory, running it, looking into it.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>

#include "kmodel.h"

/** One operation of the last inference. */
struct model_op {
    uint32_t index;
    uint32_t ticks; /**< of MTIME; no operation takes the minutes until they wrap */
    uint16_t function;
};

/** Set up the KPU. */
void model_init(void);

/** Bytes that a kmodel and all it needs may take. */
uint32_t model_room(void);

/** Where the next kmodel's image is to be written; forgets the one before. */
uint8_t *model_image(void);

/**
 * Load the image written.
 *
 * @return KMODEL_NO_MEMORY if the image fits but not what it needs beside it
 */
enum kmodel_status model_load(uint32_t size);

/** Whether a model is loaded. */
bool model_loaded(void);

/** The loaded model; after a refused one, what it says of the error. */
const struct kmodel *model_get(void);

/** All inputs and all outputs, one after the other. */
uint8_t *model_inputs(uint32_t *size);
uint8_t *model_outputs(uint32_t *size);

/** Run the model on what the inputs hold. */
enum kmodel_status model_infer(void);

/** The operations of the last inference, and their number. */
const struct model_op *model_ops(uint32_t *count);

/**
 * Run the model again and keep what an operation writes.
 *
 * @param data the tensor, dense; NULL if there is no such operation or no room
 */
enum kmodel_status model_trace(uint32_t function, uint32_t index, uint32_t output,
                               struct kmodel_view *view, const uint8_t **data);

#endif
