/* The public face of the runtime: load, describe, infer. */
#include "kmodel.h"

#include "layer.h"
#include "loop.h"

#include <stddef.h>
#include <string.h>

_Static_assert(sizeof(struct km_state) <= KMODEL_PRIVATE_WORDS * sizeof(uint64_t),
               "the interpreter fits into struct kmodel");

enum {
    MAX_CHANNELS = 1024,
    /* Room for clean copies of a layer's activation table and batch norm. */
    TABLE_BYTES = KPU_ACTIVATION_BYTES + MAX_CHANNELS * sizeof(uint64_t),
    MEMO_BYTES = KM_MEMO * sizeof(uint32_t),
    OVERHEAD_BYTES = TABLE_BYTES + MEMO_BYTES,
};

static bool is_aligned(const void *address) {
    return address != NULL && (uintptr_t)address % KMODEL_ALIGNMENT == 0;
}

static uint32_t rounded_up(uint32_t size) {
    return (size + KMODEL_ALIGNMENT - 1) & ~(KMODEL_ALIGNMENT - 1);
}

bool km_add_work(struct km_state *state, uint64_t work) {
    bool overflows = __builtin_add_overflow(state->work, work, &state->work);
    state->work = overflows ? UINT64_MAX : state->work;
    return state->work <= KMODEL_MAX_WORK;
}

void km_tell(const struct km_state *state, uint32_t function, uint32_t index,
             const struct kmodel_view *outputs, uint32_t count) {
    if (state->run == NULL || state->run->hook == NULL) {
        return;
    }
    struct kmodel_op op = {.function = (uint16_t)function, .index = index};
    op.done = outputs != NULL;
    op.outputs = outputs;
    op.output_count = count;
    state->run->hook(state->run->hook_context, &op);
}

static void set_memory(struct kmodel *model, const struct km_state *state) {
    struct kmodel_memory *memory = &model->memory;
    memory->data = state->stackvm.data_pool;
    memory->working = OVERHEAD_BYTES + rounded_up(state->stackvm.data_pool);
    if (state->has_k210) {
        memory->data += state->k210.data_pool;
        memory->working += rounded_up(state->k210.data_pool);
    }
    memory->inputs = state->entry.input_pool;
    memory->outputs = state->entry.output_pool;
    memory->kpu_ram = state->kpu_ram;
    model->inputs = state->entry.inputs;
    model->outputs = state->entry.outputs;
    model->work = state->work;
}

enum kmodel_status kmodel_load(struct kmodel *model, const void *image, size_t size) {
    struct km_state *state = km_state(model);
    memset(model, 0, sizeof *model);
    if (!is_aligned(image)) {
        return KMODEL_BAD_ARGUMENT;
    }
    state->image = image;
    state->size = size > INT32_MAX ? 0 : (uint32_t)size;
    enum kmodel_status status = km_read_container(state);
    if (status == KMODEL_OK) {
        status = km_vm_run(state);
    }
    if (status == KMODEL_OK) {
        set_memory(model, state);
    }
    model->error_offset = state->error_offset;
    return status;
}

bool kmodel_describe(const struct kmodel *model, enum kmodel_side side, uint32_t index,
                     struct kmodel_tensor *tensor) {
    const struct km_state *state = (const struct km_state *)model->private_;
    bool input = side == KMODEL_INPUT;
    if (index >= (input ? model->inputs : model->outputs)) {
        return false;
    }
    const struct km_tensor *found =
        input ? &state->entry.input[index] : &state->entry.output[index];
    tensor->type = (enum kmodel_type)found->range.type;
    tensor->rank = found->rank;
    tensor->size = found->range.size;
    memcpy(tensor->shape, found->shape, sizeof tensor->shape);
    return true;
}

/* Whether all pointers of a run are there and aligned for any element type. */
static bool is_complete(const struct kmodel *model, const struct kmodel_run *run) {
    const uintptr_t element = sizeof(uint64_t);
    if (run->kpu == NULL || !is_aligned(run->memory)) {
        return false;
    }
    uintptr_t misaligned = 0;
    for (uint32_t i = 0; i < model->inputs; i++) {
        misaligned |= run->inputs[i] == NULL ? 1 : (uintptr_t)run->inputs[i];
    }
    for (uint32_t i = 0; i < model->outputs; i++) {
        misaligned |= run->outputs[i] == NULL ? 1 : (uintptr_t)run->outputs[i];
    }
    return misaligned % element == 0;
}

enum kmodel_status kmodel_infer(struct kmodel *model, const struct kmodel_run *run) {
    struct km_state *state = km_state(model);
    if (model->outputs == 0 || !is_complete(model, run)) {
        return KMODEL_BAD_ARGUMENT;
    }
    if (run->memory_size < model->memory.working) {
        return KMODEL_NO_MEMORY;
    }
    state->run = run;
    state->tables = run->memory;
    state->memo = (uint32_t *)(void *)(state->tables + TABLE_BYTES);
    state->data = state->tables + OVERHEAD_BYTES;
    state->k210_data = state->data + rounded_up(state->stackvm.data_pool);
    enum kmodel_status status = km_vm_run(state);
    state->run = NULL;
    state->data = state->k210_data = NULL;
    model->error_offset = state->error_offset;
    return status;
}

uint32_t kmodel_view_size(const struct kmodel_view *view) {
    return (uint32_t)km_product(view->shape, view->rank) * km_type_size(view->type);
}

static void read_map(const struct kmodel_view *view, uint8_t *target) {
    const uint32_t *shape = view->shape;
    struct km_layout layout = km_layout(shape[3]);
    uint32_t line = layout.rows * KPU_ROW_BYTES;
    uint32_t batch = (uint32_t)km_map_bytes(shape[1], shape[2], shape[3]);
    for (uint32_t i = 0; i < shape[0] * shape[1]; i++) {
        uint32_t n = i / shape[1], c = i % shape[1];
        const uint8_t *at = view->data + n * batch +
                            c / layout.group * shape[2] * line +
                            c % layout.group * layout.pitch;
        for (uint32_t y = 0; y < shape[2]; y++, at += line, target += shape[3]) {
            km_copy_bytes(target, at, shape[3]);
        }
    }
}

void kmodel_view_read(const struct kmodel_view *view, void *target) {
    if (view->map) {
        read_map(view, target);
        return;
    }
    uint32_t size = km_type_size(view->type);
    uint32_t dense[KMODEL_MAX_RANK];
    km_dense_strides(view->shape, view->rank, dense);
    struct km_loop loop;
    km_loop_start(&loop, view->shape, view->rank);
    km_loop_add(&loop, (uint8_t *)(uintptr_t)view->data, view->strides, size);
    km_loop_add(&loop, target, dense, size);
    km_loop_begin(&loop);
    do {
        km_copy_row(loop.at[1], loop.step[1], loop.at[0], loop.step[0], size, loop.row);
    } while (km_loop_next(&loop));
}

const char *kmodel_message(enum kmodel_status status) {
    static const char *const messages[] = {
        [KMODEL_OK] = "no error",
        [KMODEL_BAD_ARGUMENT] = "an address is missing or not aligned",
        [KMODEL_BAD_HEADER] = "not a kmodel of version 5",
        [KMODEL_TRUNCATED] = "the file is cut short",
        [KMODEL_BAD_MODULE] = "a module is damaged",
        [KMODEL_BAD_FUNCTION] = "a function is damaged",
        [KMODEL_BAD_TENSOR] = "an input or output is damaged",
        [KMODEL_BAD_CODE] = "the code is damaged",
        [KMODEL_UNSUPPORTED] = "an operation is not supported",
        [KMODEL_BAD_OPERANDS] = "the operands of an operation contradict each other",
        [KMODEL_OUT_OF_BOUNDS] = "an operation reaches beyond its memory",
        [KMODEL_BAD_LAYER] = "the registers of a KPU layer contradict its shape",
        [KMODEL_TOO_MANY_LOADS] = "a KPU layer needs more than 64 weight loads",
        [KMODEL_OVERLAP] = "a KPU layer would overwrite its own input",
        [KMODEL_TOO_LONG] = "an inference would take too many steps",
        [KMODEL_TOO_BIG] = "the model has more parts than there is room for",
        [KMODEL_NO_MEMORY] = "the working memory is too small",
        [KMODEL_KPU_FAILED] = "the KPU did not finish a layer",
    };
    uint32_t number = (uint32_t)status;
    return number < sizeof messages / sizeof messages[0] ? messages[number] : "unknown";
}
