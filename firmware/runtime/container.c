/* The container of a kmodel: header, modules, functions and sections. */
#include "model.h"

#include <stddef.h>
#include <string.h>

enum {
    VERSION = 5,
    HEADER_BYTES = 32,
    MODULE_HEADER_BYTES = 48,
    FUNCTION_HEADER_BYTES = 32,
    NAME_BYTES = 16,
    MODULE_ALIGNMENT = 8,
    MAX_MODULES = 2,
    MAX_POOL = 1 << 30, /* far more than the chip has; sums of two do not overflow */
};

static const uint32_t IDENTIFIER = 0x4B4D444C; /* "LDMK" */

/* The kinds of modules, and how their section bodies are aligned in the file. */
static const struct {
    char name[NAME_BYTES];
    uint32_t alignment;
} KINDS[] = {{"stackvm", 8}, {"k210", KMODEL_ALIGNMENT}};

static const char RDATA[NAME_BYTES] = ".rdata";
static const char TEXT[NAME_BYTES] = ".text";

enum { STACKVM, K210, KIND_COUNT };

uint32_t km_type_size(uint32_t type) {
    static const uint8_t sizes[] = {1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2};
    return type < sizeof sizes ? sizes[type] : 0;
}

uint64_t km_product(const uint32_t *shape, uint32_t rank) {
    uint64_t product = 1;
    for (uint32_t i = 0; i < rank; i++) {
        if (__builtin_mul_overflow(product, shape[i], &product)) {
            return UINT64_MAX;
        }
    }
    return product;
}

void km_dense_strides(const uint32_t *shape, uint32_t rank, uint32_t *strides) {
    uint32_t step = 1;
    for (uint32_t i = rank; i-- > 0;) {
        strides[i] = step;
        step *= shape[i];
    }
}

uint64_t km_extent(const uint32_t *shape, const uint32_t *strides, uint32_t rank) {
    uint64_t last = 0;
    for (uint32_t i = 0; i < rank; i++) {
        uint64_t step = (uint64_t)(shape[i] - 1) * strides[i];
        if (__builtin_add_overflow(last, step, &last)) {
            return UINT64_MAX;
        }
    }
    return last == UINT64_MAX ? last : last + 1;
}

bool km_read_range(struct km_reader *reader, struct km_range *range) {
    range->location = km_u8(reader);
    range->type = km_u8(reader);
    uint16_t shared_module = km_u16(reader);
    range->start = km_u32(reader);
    range->size = km_u32(reader);
    return !reader->failed && shared_module == 0 && km_type_size(range->type) != 0;
}

static bool read_ranges(struct km_reader *reader, struct km_tensor *tensors,
                        uint32_t count, uint8_t location, uint32_t pool) {
    for (uint32_t i = 0; i < count; i++) {
        struct km_range *range = &tensors[i].range;
        if (!km_read_range(reader, range) || range->location != location ||
            range->start > pool || range->size > pool - range->start) {
            return false;
        }
        for (uint32_t j = 0; j < i; j++) {
            const struct km_range *other = &tensors[j].range;
            if (range->start < other->start + other->size &&
                other->start < range->start + range->size) {
                return false;
            }
        }
    }
    return true;
}

static bool read_shapes(struct km_reader *reader, struct km_tensor *tensors,
                        uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct km_tensor *tensor = &tensors[i];
        tensor->rank = km_u32(reader);
        if (tensor->rank > KMODEL_MAX_RANK) {
            return false;
        }
        for (uint32_t axis = 0; axis < tensor->rank; axis++) {
            tensor->shape[axis] = km_u32(reader);
        }
        uint64_t count_ = km_product(tensor->shape, tensor->rank);
        uint32_t size = km_type_size(tensor->range.type);
        if (count_ == 0 || count_ > UINT32_MAX || count_ * size != tensor->range.size ||
            tensor->range.start % size != 0) {
            return false;
        }
    }
    return !reader->failed;
}

static enum kmodel_status read_function(struct km_reader *reader,
                                        struct km_function *function) {
    uint32_t start = reader->at;
    uint32_t header_size = km_u32(reader);
    uint32_t size = km_u32(reader);
    function->input_pool = km_u32(reader);
    function->output_pool = km_u32(reader);
    function->inputs = km_u32(reader);
    function->outputs = km_u32(reader);
    function->entrypoint = km_u32(reader);
    function->text_size = km_u32(reader);
    if (reader->failed) {
        return KMODEL_TRUNCATED;
    }
    if (header_size != FUNCTION_HEADER_BYTES || function->outputs == 0) {
        return KMODEL_BAD_FUNCTION;
    }
    if (function->inputs > KMODEL_MAX_TENSORS ||
        function->outputs > KMODEL_MAX_TENSORS) {
        return KMODEL_TOO_BIG;
    }
    if (!read_ranges(reader, function->input, function->inputs, KM_INPUT,
                     function->input_pool) ||
        !read_shapes(reader, function->input, function->inputs) ||
        !read_ranges(reader, function->output, function->outputs, KM_OUTPUT,
                     function->output_pool) ||
        !read_shapes(reader, function->output, function->outputs)) {
        return KMODEL_BAD_TENSOR;
    }
    bool aligned = km_align(reader, MODULE_ALIGNMENT);
    return aligned && reader->at - start == size ? KMODEL_OK : KMODEL_BAD_FUNCTION;
}

enum kmodel_status km_read_function(struct km_state *state,
                                    const struct km_module *module, uint32_t number,
                                    struct km_function *function) {
    struct km_reader reader = {state->image, module->first_function, state->size,
                               false};
    for (uint32_t i = 0; i < number; i++) {
        km_take(&reader, 4);
        km_take(&reader, km_u32(&reader) - 8);
    }
    return read_function(&reader, function);
}

/* Functions' code follows each other without gaps from the start of .text. */
static enum kmodel_status read_functions(struct km_state *state,
                                         struct km_reader *reader,
                                         struct km_module *module) {
    uint32_t expected = 0;
    module->first_function = reader->at;
    if (module->functions > KM_FUNCTIONS) {
        return KMODEL_TOO_BIG;
    }
    for (uint32_t i = 0; i < module->functions; i++) {
        state->error_offset = reader->at;
        enum kmodel_status status = read_function(reader, &state->callee);
        if (status != KMODEL_OK) {
            return status;
        }
        if (state->callee.entrypoint != expected ||
            state->callee.text_size > state->size - expected) {
            return KMODEL_BAD_FUNCTION;
        }
        expected += state->callee.text_size;
    }
    module->text_size = expected;
    return KMODEL_OK;
}

static bool read_pools(struct km_reader *reader, uint32_t count, bool k210,
                       struct km_module *module) {
    uint32_t seen = 0;
    uint32_t rdata = 0;
    module->data_pool = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t location = km_u8(reader);
        bool padded = km_zeros(reader, 3);
        uint32_t size = km_u32(reader);
        uint32_t bit = location == KM_KPU ? 1 : 1u << (location & 31);
        bool known = location == KM_RDATA || location == KM_DATA ||
                     (location == KM_KPU && k210 && size == KPU_RAM_BYTES);
        if (!padded || reader->failed || !known || (seen & bit) != 0) {
            return false;
        }
        seen |= bit;
        rdata = location == KM_RDATA ? size : rdata;
        module->data_pool = location == KM_DATA ? size : module->data_pool;
    }
    module->rdata_size = rdata;
    return true;
}

static bool read_section(struct km_reader *reader, const char name[NAME_BYTES],
                         uint32_t alignment, uint32_t size, uint32_t *offset) {
    const uint8_t *found = km_take(reader, NAME_BYTES);
    uint32_t flags = km_u32(reader);
    uint32_t gap = km_u32(reader);
    uint32_t body_size = km_u32(reader);
    uint32_t reserved = km_u32(reader);
    uint32_t end = reader->at;
    if (reader->failed || memcmp(found, name, NAME_BYTES) != 0 || flags != 0 ||
        reserved != 0 || body_size != size || !km_align(reader, alignment) ||
        reader->at - end != gap) {
        return false;
    }
    *offset = reader->at;
    return km_take(reader, body_size) != NULL;
}

static enum kmodel_status read_module_body(struct km_state *state,
                                           struct km_reader *reader, uint32_t kind,
                                           struct km_module *module) {
    uint32_t pools = km_u32(reader);
    uint32_t shared_pools = km_u32(reader);
    uint32_t sections = km_u32(reader);
    module->functions = km_u32(reader);
    uint32_t reserved = km_u32(reader);
    if (shared_pools != 0 || sections != 2 || reserved != 0 ||
        !read_pools(reader, pools, kind == K210, module)) {
        return KMODEL_BAD_MODULE;
    }
    if (module->data_pool > MAX_POOL) {
        return KMODEL_TOO_BIG;
    }
    enum kmodel_status status = read_functions(state, reader, module);
    if (status != KMODEL_OK) {
        return status;
    }
    state->error_offset = reader->at;
    uint32_t alignment = KINDS[kind].alignment;
    bool whole =
        read_section(reader, RDATA, alignment, module->rdata_size, &module->rdata) &&
        read_section(reader, TEXT, alignment, module->text_size, &module->text) &&
        km_align(reader, MODULE_ALIGNMENT) && km_left(reader) == 0;
    return whole ? KMODEL_OK : KMODEL_BAD_MODULE;
}

static uint32_t kind_of(const uint8_t *name) {
    uint32_t kind = 0;
    while (kind < KIND_COUNT && memcmp(name, KINDS[kind].name, NAME_BYTES) != 0) {
        kind++;
    }
    return kind;
}

static enum kmodel_status read_module(struct km_state *state, struct km_reader *outer,
                                      uint32_t number, uint32_t *seen) {
    struct km_reader reader = *outer;
    state->error_offset = reader.at;
    const uint8_t *name = km_take(&reader, NAME_BYTES);
    uint32_t version = km_u32(&reader);
    uint32_t header_size = km_u32(&reader);
    uint32_t size = km_u32(&reader);
    if (reader.failed || size < MODULE_HEADER_BYTES || size > km_left(outer)) {
        return KMODEL_TRUNCATED;
    }
    uint32_t kind = kind_of(name);
    if (kind == KIND_COUNT || (*seen & 1u << kind) != 0 || version != 1 ||
        header_size != MODULE_HEADER_BYTES) {
        return KMODEL_BAD_MODULE;
    }
    *seen |= 1u << kind;
    if (kind == K210) {
        state->has_k210 = true;
        state->k210_number = number;
    }
    km_take(outer, size);
    reader.end = outer->at;
    struct km_module *module = kind == K210 ? &state->k210 : &state->stackvm;
    return read_module_body(state, &reader, kind, module);
}

enum kmodel_status km_read_container(struct km_state *state) {
    struct km_reader reader = {state->image, 0, state->size, false};
    state->error_offset = 0;
    uint32_t identifier = km_u32(&reader);
    uint32_t version = km_u32(&reader);
    uint32_t header_size = km_u32(&reader);
    uint32_t flags = km_u32(&reader);
    uint32_t alignment = km_u32(&reader);
    uint32_t modules = km_u32(&reader);
    uint32_t entry_module = km_u32(&reader);
    uint32_t entry_function = km_u32(&reader);
    if (reader.failed || identifier != IDENTIFIER || version != VERSION ||
        header_size != HEADER_BYTES || flags != 0 || modules == 0 ||
        modules > MAX_MODULES || entry_module >= modules) {
        return KMODEL_BAD_HEADER;
    }
    uint32_t seen = 0;
    state->has_k210 = false;
    for (uint32_t i = 0; i < modules; i++) {
        enum kmodel_status status = read_module(state, &reader, i, &seen);
        if (status != KMODEL_OK) {
            return status;
        }
    }
    state->error_offset = 0;
    uint32_t expected = KINDS[state->has_k210 ? K210 : STACKVM].alignment;
    if (km_left(&reader) != 0 || (seen & 1u << STACKVM) == 0 || alignment != expected ||
        (state->has_k210 && entry_module == state->k210_number) ||
        entry_function >= state->stackvm.functions) {
        return KMODEL_BAD_HEADER;
    }
    return km_read_function(state, &state->stackvm, entry_function, &state->entry);
}
