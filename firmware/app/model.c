#include "model.h"

#include <string.h>

#include "clint.h"
#include "k210.h"
#include "kpu_device.h"
#include "link.h"

/* Records of operations that there is always room for; more go where memory is left. */
#define LEAST_OPS_SIZE (128u * sizeof(struct model_op))
#define TENSOR_ALIGNMENT 64u
/* Often enough to keep the line busy: its window takes 20 ms at 2 Mbaud. */
#define LINK_INTERVAL_TICKS (2 * CLINT_HZ / 1000)

extern uint8_t __memory_start[];
extern uint8_t __memory_end[];

/* What of the memory is taken: image, working memory, inputs, outputs, operations. */
static struct {
    uint8_t *working;
    uint8_t *inputs;
    uint8_t *outputs;
    struct model_op *ops;
} place;

static struct {
    bool wanted;
    bool found;
    uint32_t function;
    uint32_t index;
    uint32_t output;
    struct kmodel_view view;
} trace;

static struct kmodel model;
static struct kpu kpu;
static bool loaded;
static uint32_t op_count;
static uint64_t op_start;
static uint64_t link_polled;

void model_init(void) { kpu_device_init(&kpu); }

uint32_t model_room(void) {
    return (uint32_t)(__memory_end - __memory_start - LEAST_OPS_SIZE);
}

uint8_t *model_image(void) {
    loaded = false;
    return k210_uncached(__memory_start);
}

bool model_loaded(void) { return loaded; }

const struct kmodel *model_get(void) { return &model; }

/* The bytes of all tensors of one kind, without gaps: how the host sees them. */
static uint32_t total_size(enum kmodel_side side) {
    struct kmodel_tensor tensor;
    uint32_t total = 0;

    for (uint32_t i = 0; kmodel_describe(&model, side, i, &tensor); i++) {
        total += tensor.size;
    }
    return total;
}

/* Take `size` bytes from `*at` on; false if they are not there. */
static bool take(uint8_t **at, uint64_t size, uint32_t alignment, uint8_t **taken) {
    uintptr_t start = ((uintptr_t)*at + alignment - 1) & ~(uintptr_t)(alignment - 1);

    if (start > (uintptr_t)__memory_end || size > (uintptr_t)__memory_end - start) {
        return false;
    }
    *taken = (uint8_t *)start;
    *at = *taken + size;
    return true;
}

/* Each tensor begins at a multiple of 8; the totals of the model do not know that. */
static uint32_t padded(uint32_t size) { return (size + 7) & ~7u; }

static bool place_all(uint32_t image_size) {
    uint8_t *at = __memory_start + image_size;
    uint8_t *ops;
    uint64_t gaps = 8 * KMODEL_MAX_TENSORS;
    uint64_t inputs = total_size(KMODEL_INPUT) + gaps;
    uint64_t outputs = total_size(KMODEL_OUTPUT) + gaps;

    if (!take(&at, model.memory.working, KMODEL_ALIGNMENT, &place.working) ||
        !take(&at, inputs, TENSOR_ALIGNMENT, &place.inputs) ||
        !take(&at, outputs, TENSOR_ALIGNMENT, &place.outputs) ||
        !take(&at, LEAST_OPS_SIZE, TENSOR_ALIGNMENT, &ops)) {
        return false;
    }
    place.ops = (struct model_op *)ops;
    return true;
}

enum kmodel_status model_load(uint32_t size) {
    enum kmodel_status status = kmodel_load(&model, __memory_start, size);

    if (status == KMODEL_OK && !place_all(size)) {
        status = KMODEL_NO_MEMORY;
    }
    op_count = 0;
    loaded = status == KMODEL_OK;
    return status;
}

uint8_t *model_inputs(uint32_t *size) {
    *size = total_size(KMODEL_INPUT);
    return place.inputs;
}

uint8_t *model_outputs(uint32_t *size) {
    *size = total_size(KMODEL_OUTPUT);
    return place.outputs;
}

/* What of the memory nothing else needs. */
static uint8_t *rest(void) { return (uint8_t *)(place.ops + op_count); }

static void keep_traced(const struct kmodel_op *op) {
    if (op->function != trace.function || op->index != trace.index ||
        op->output_count <= trace.output) {
        return;
    }
    trace.view = op->outputs[trace.output];
    if (kmodel_view_size(&trace.view) <= (size_t)(__memory_end - rest())) {
        kmodel_view_read(&trace.view, rest());
        trace.found = true;
    }
}

static void keep_time(const struct kmodel_op *op, uint64_t ticks) {
    if ((size_t)(__memory_end - rest()) < sizeof(struct model_op)) {
        return;
    }
    place.ops[op_count++] = (struct model_op){
        .function = op->function,
        .index = op->index,
        .ticks = (uint32_t)ticks,
    };
}

/* Around every operation: its time, without that of the link, which lives on. */
static void around_op(void *context, const struct kmodel_op *op) {
    (void)context;
    if (op->done) {
        uint64_t ticks = clint_time() - op_start;

        if (trace.wanted) {
            keep_traced(op);
        } else {
            keep_time(op, ticks);
        }
    }
    op_start = clint_time();
    if (op_start - link_polled > LINK_INTERVAL_TICKS) {
        link_poll();
        link_polled = op_start;
        op_start = clint_time();
    }
}

/* Where each tensor lies; those of one side follow each other at multiples of 8. */
static void spread(enum kmodel_side side, uint8_t *base, uint8_t **tensors) {
    struct kmodel_tensor tensor;

    for (uint32_t i = 0; kmodel_describe(&model, side, i, &tensor); i++) {
        tensors[i] = base;
        base += padded(tensor.size);
    }
}

/* The host sees tensors without gaps: from the last to the first, move them apart. */
static void open_gaps(uint8_t *base, uint8_t **inputs) {
    uint32_t total = total_size(KMODEL_INPUT);
    struct kmodel_tensor tensor;

    for (uint32_t i = model.inputs; i-- > 0;) {
        kmodel_describe(&model, KMODEL_INPUT, i, &tensor);
        total -= tensor.size;
        memmove(inputs[i], base + total, tensor.size);
    }
}

static void close_gaps(enum kmodel_side side, uint8_t *base, uint8_t **tensors) {
    struct kmodel_tensor tensor;

    for (uint32_t i = 0; kmodel_describe(&model, side, i, &tensor); i++) {
        memmove(base, tensors[i], tensor.size);
        base += tensor.size;
    }
}

enum kmodel_status model_infer(void) {
    uint8_t *inputs[KMODEL_MAX_TENSORS];
    uint8_t *outputs[KMODEL_MAX_TENSORS];
    struct kmodel_run run = {
        .kpu = &kpu,
        .inputs = (const void *const *)inputs,
        .outputs = (void *const *)outputs,
        .memory = place.working,
        .memory_size = model.memory.working,
        .hook = around_op,
    };

    spread(KMODEL_INPUT, place.inputs, inputs);
    spread(KMODEL_OUTPUT, place.outputs, outputs);
    open_gaps(place.inputs, inputs);
    if (!trace.wanted) {
        op_count = 0;
    }
    enum kmodel_status status = kmodel_infer(&model, &run);

    close_gaps(KMODEL_INPUT, place.inputs, inputs);
    close_gaps(KMODEL_OUTPUT, place.outputs, outputs);
    return status;
}

const struct model_op *model_ops(uint32_t *count) {
    *count = op_count;
    return place.ops;
}

enum kmodel_status model_trace(uint32_t function, uint32_t index, uint32_t output,
                               struct kmodel_view *view, const uint8_t **data) {
    trace.wanted = true;
    trace.found = false;
    trace.function = function;
    trace.index = index;
    trace.output = output;
    enum kmodel_status status = model_infer();

    trace.wanted = false;
    *view = trace.view;
    *data = trace.found ? rest() : NULL;
    return status;
}
