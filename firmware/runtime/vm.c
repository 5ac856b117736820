/*
 * The stack machine of the stackvm module: constants and addresses are pushed, shapes
 * and paddings stored into registers, and tensor instructions consume them. nncase
 * emits straight-line code from six opcodes, so anything else is refused.
 */
#include "vm.h"

#include <stddef.h>
#include <string.h>

enum {
    LDC_I4 = 0x02,
    LDC_R4 = 0x05,
    LEA_BUFFER = 0x17,
    STSHAPE = 0x31,
    STPADDINGS = 0x32,
    TENSOR = 0x5E,
};

void km_fail(struct km_vm *vm, enum kmodel_status status) {
    if (vm->status == KMODEL_OK) {
        vm->status = status;
    }
}

void km_require(struct km_vm *vm, bool condition, enum kmodel_status status) {
    if (!condition) {
        km_fail(vm, status);
    }
}

static void push(struct km_vm *vm, struct km_value value) {
    struct km_state *state = vm->state;
    if (state->depth == KM_STACK) {
        km_fail(vm, KMODEL_TOO_BIG);
        return;
    }
    state->stack[state->depth++] = value;
}

struct km_value km_pop(struct km_vm *vm) {
    struct km_state *state = vm->state;
    if (state->depth == 0) {
        km_fail(vm, KMODEL_BAD_CODE);
        return (struct km_value){KM_INTEGER, 0, {0}};
    }
    return state->stack[--state->depth];
}

int32_t km_pop_integer(struct km_vm *vm) {
    struct km_value value = km_pop(vm);
    km_require(vm, value.kind == KM_INTEGER, KMODEL_BAD_CODE);
    return value.kind == KM_INTEGER ? value.integer : 0;
}

float km_pop_float(struct km_vm *vm) {
    struct km_value value = km_pop(vm);
    if (value.kind == KM_INTEGER && value.integer == 0) {
        return 0;
    }
    km_require(vm, value.kind == KM_FLOAT, KMODEL_BAD_CODE);
    return value.kind == KM_FLOAT ? value.real : 0;
}

struct km_value km_pop_address(struct km_vm *vm) {
    struct km_value value = km_pop(vm);
    km_require(vm, value.kind == KM_ADDRESS, KMODEL_BAD_CODE);
    return value;
}

struct km_padding km_pop_padding(struct km_vm *vm) {
    struct km_padding padding;
    padding.interior = km_pop_integer(vm);
    padding.after = km_pop_integer(vm);
    padding.before = km_pop_integer(vm);
    return padding;
}

const struct km_register *km_register_at(struct km_vm *vm, uint32_t number) {
    static const struct km_register empty = {0, {0}};
    if (number >= KM_REGISTERS || vm->state->shapes[number].rank < 0) {
        km_fail(vm, KMODEL_BAD_CODE);
        return &empty;
    }
    return &vm->state->shapes[number];
}

const struct km_register *km_read_register(struct km_vm *vm) {
    return km_register_at(vm, km_u8(&vm->reader));
}

uint32_t km_as_shape(struct km_vm *vm, const struct km_register *value,
                     uint32_t shape[KMODEL_MAX_RANK]) {
    for (int32_t i = 0; i < value->rank; i++) {
        km_require(vm, value->value[i] > 0, KMODEL_BAD_OPERANDS);
        shape[i] = (uint32_t)value->value[i];
    }
    return (uint32_t)value->rank;
}

/* The tensor an address of a function's inputs or outputs lies in, or NULL. */
static const struct km_tensor *tensor_at(const struct km_tensor *tensors,
                                         uint32_t count, uint32_t offset) {
    const struct km_tensor *found = NULL;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t start = tensors[i].range.start;
        if (start <= offset && (found == NULL || start > found->range.start)) {
            found = &tensors[i];
        }
    }
    return found;
}

/* Memory from an address to the end of what it lies in; size 0 if there is none. */
struct memory {
    uint8_t *data; /* NULL while the model is only checked */
    uint32_t size;
};

static struct memory block(const uint8_t *base, uint32_t size, uint32_t offset) {
    bool inside = offset <= size;
    uint8_t *data =
        base == NULL || !inside ? NULL : (uint8_t *)(uintptr_t)base + offset;
    return (struct memory){data, inside ? size - offset : 0};
}

static struct memory memory_at(const struct km_state *state, struct km_value address) {
    const struct km_function *entry = &state->entry;
    const struct kmodel_run *run = state->run;
    uint32_t offset = address.offset;
    if (address.location == KM_RDATA) {
        const uint8_t *rdata = state->image + state->stackvm.rdata;
        return block(run == NULL ? NULL : rdata, state->stackvm.rdata_size, offset);
    }
    if (address.location == KM_DATA) {
        return block(state->data, state->stackvm.data_pool, offset);
    }
    bool input = address.location == KM_INPUT;
    const struct km_tensor *first = input ? entry->input : entry->output;
    uint32_t count = input ? entry->inputs : entry->outputs;
    const struct km_tensor *tensor = tensor_at(first, count, offset);
    if (tensor == NULL) {
        return (struct memory){NULL, 0};
    }
    const void *base = NULL;
    if (run != NULL) {
        size_t number = (size_t)(tensor - first);
        base = input ? run->inputs[number] : run->outputs[number];
    }
    return block(base, tensor->range.size, offset - tensor->range.start);
}

void km_make_view(struct km_vm *vm, struct km_view *view, struct km_value address,
                  uint8_t type, const uint32_t *shape, uint32_t rank,
                  const struct km_register *strides, enum km_access access) {
    uint32_t size = km_type_size(type);
    km_require(vm, size != 0, KMODEL_UNSUPPORTED);
    km_require(vm, strides->rank == (int32_t)rank, KMODEL_BAD_OPERANDS);
    if (vm->status != KMODEL_OK) {
        return;
    }
    view->type = type;
    view->rank = rank;
    for (uint32_t i = 0; i < rank; i++) {
        km_require(vm, shape[i] > 0 && strides->value[i] >= 0, KMODEL_BAD_OPERANDS);
        view->shape[i] = shape[i];
        view->strides[i] = (uint32_t)strides->value[i];
    }
    if (vm->status != KMODEL_OK) {
        return;
    }
    bool writable = address.location == KM_OUTPUT || address.location == KM_DATA;
    km_require(vm, access == KM_READ || writable, KMODEL_OUT_OF_BOUNDS);
    struct memory memory = memory_at(vm->state, address);
    uint64_t extent = km_extent(view->shape, view->strides, rank);
    bool fits = extent <= memory.size / size && address.offset % size == 0;
    km_require(vm, fits, KMODEL_OUT_OF_BOUNDS);
    view->data = memory.data;
}

static void load_address(struct km_vm *vm) {
    struct km_value value = {KM_ADDRESS, km_u8(&vm->reader), {0}};
    uint8_t subresource = km_u8(&vm->reader);
    value.offset = km_u32(&vm->reader);
    km_require(vm, value.location <= KM_DATA && subresource == 0, KMODEL_BAD_CODE);
    push(vm, value);
}

static void store_shape(struct km_vm *vm) {
    uint32_t number = km_u8(&vm->reader);
    uint32_t rank = km_u8(&vm->reader);
    if (number >= KM_REGISTERS || rank > KMODEL_MAX_RANK) {
        km_fail(vm, KMODEL_TOO_BIG);
        return;
    }
    struct km_register *target = &vm->state->shapes[number];
    for (uint32_t i = rank; i-- > 0;) {
        target->value[i] = km_pop_integer(vm);
    }
    target->rank = (int32_t)rank;
}

static void store_paddings(struct km_vm *vm) {
    uint32_t number = km_u8(&vm->reader);
    uint32_t rank = km_u8(&vm->reader);
    if (number >= KM_PADDINGS || rank > KMODEL_MAX_RANK) {
        km_fail(vm, KMODEL_TOO_BIG);
        return;
    }
    struct km_paddings *target = &vm->state->paddings[number];
    for (uint32_t i = rank; i-- > 0;) {
        target->value[i] = km_pop_padding(vm);
    }
    target->rank = (int32_t)rank;
}

/* A call's argument, which must suit the callee's tensor. */
static void pop_argument(struct km_vm *vm, const struct km_tensor *tensor,
                         enum km_access access, struct km_view *view) {
    const struct km_register *strides =
        km_register_at(vm, (uint32_t)km_pop_integer(vm));
    const struct km_register *shape = km_register_at(vm, (uint32_t)km_pop_integer(vm));
    int32_t type = km_pop_integer(vm);
    struct km_value address = km_pop_address(vm);
    uint32_t dims[KMODEL_MAX_RANK];
    *view = (struct km_view){.rank = 0};
    uint32_t rank = km_as_shape(vm, shape, dims);
    bool same = rank == tensor->rank && type == tensor->range.type &&
                memcmp(dims, tensor->shape, rank * sizeof dims[0]) == 0;
    km_require(vm, same, KMODEL_BAD_OPERANDS);
    km_make_view(vm, view, address, tensor->range.type, dims, rank, strides, access);
}

static void pop_output(struct km_vm *vm, const struct km_tensor *tensor,
                       struct kmodel_view *output) {
    struct km_view view;
    pop_argument(vm, tensor, KM_WRITE, &view);
    output->data = view.data;
    output->type = (enum kmodel_type)tensor->range.type;
    output->rank = view.rank;
    output->map = false;
    memcpy(output->shape, view.shape, sizeof view.shape);
    memcpy(output->strides, view.strides, sizeof view.strides);
}

static void pop_input(struct km_vm *vm, const struct km_tensor *tensor,
                      struct km_argument *input) {
    struct km_view view;
    pop_argument(vm, tensor, KM_READ, &view);
    input->data = view.data;
    memcpy(input->strides, view.strides, sizeof view.strides);
}

static void call(struct km_vm *vm) {
    struct km_state *state = vm->state;
    struct km_function *callee = &state->callee;
    struct km_argument inputs[KMODEL_MAX_TENSORS];
    struct kmodel_view outputs[KMODEL_MAX_TENSORS];
    uint32_t number = km_u32(&vm->reader);
    uint16_t module = km_u16(&vm->reader);
    uint8_t sources = km_u8(&vm->reader);
    uint8_t targets = km_u8(&vm->reader);
    bool known = !vm->reader.failed && state->has_k210 &&
                 module == state->k210_number && number < state->k210.functions;
    uint32_t bit = 1u << number % 32;
    if (!known || (state->called[number / 32] & bit) != 0) {
        km_fail(vm, KMODEL_BAD_CODE);
        return;
    }
    state->called[number / 32] |= bit;
    km_add_work(state, number);
    enum kmodel_status status = km_read_function(state, &state->k210, number, callee);
    km_require(vm, status == KMODEL_OK, status);
    bool matches = sources == callee->inputs && targets == callee->outputs;
    if (vm->status != KMODEL_OK || !matches) {
        km_fail(vm, KMODEL_BAD_CODE);
        return;
    }
    for (uint32_t i = targets; i-- > 0;) {
        pop_output(vm, &callee->output[i], &outputs[i]);
    }
    for (uint32_t i = sources; i-- > 0;) {
        pop_input(vm, &callee->input[i], &inputs[i]);
    }
    if (vm->status != KMODEL_OK) {
        return;
    }
    km_tell(state, KMODEL_ENTRY, state->op_index, NULL, 0);
    uint32_t offset = state->error_offset;
    status = km_k210_run(state, number, inputs, outputs);
    if (status != KMODEL_OK) {
        vm->status = status;
        return;
    }
    state->error_offset = offset;
    km_tell(state, KMODEL_ENTRY, state->op_index, outputs, targets);
}

static void tensor(struct km_vm *vm) {
    uint16_t id = km_u16(&vm->reader);
    if (id == KM_CALL) {
        call(vm);
    } else {
        km_tensor_op(vm, id);
    }
    vm->state->op_index++;
}

static void step(struct km_vm *vm) {
    struct km_value value = {KM_INTEGER, 0, {0}};
    switch (km_u8(&vm->reader)) {
    case LDC_I4:
        value.integer = km_i32(&vm->reader);
        push(vm, value);
        break;
    case LDC_R4:
        value.kind = KM_FLOAT;
        value.real = km_f32(&vm->reader);
        push(vm, value);
        break;
    case LEA_BUFFER:
        load_address(vm);
        break;
    case STSHAPE:
        store_shape(vm);
        break;
    case STPADDINGS:
        store_paddings(vm);
        break;
    case TENSOR:
        tensor(vm);
        break;
    default:
        km_fail(vm, KMODEL_UNSUPPORTED);
    }
}

static void reset(struct km_state *state) {
    state->depth = 0;
    state->op_index = 0;
    state->work = 0;
    memset(state->called, 0, sizeof state->called);
    for (uint32_t i = 0; i < KM_REGISTERS; i++) {
        state->shapes[i].rank = -1;
    }
    for (uint32_t i = 0; i < KM_PADDINGS; i++) {
        state->paddings[i].rank = -1;
    }
}

enum kmodel_status km_vm_run(struct km_state *state) {
    uint32_t start = state->stackvm.text + state->entry.entrypoint;
    uint32_t end = start + state->entry.text_size;
    struct km_vm vm = {state, {state->image, start, end, false}, KMODEL_OK};
    reset(state);
    while (vm.status == KMODEL_OK && km_left(&vm.reader) > 0) {
        state->error_offset = vm.reader.at;
        step(&vm);
        km_require(&vm, !vm.reader.failed, KMODEL_TRUNCATED);
        km_require(&vm, state->work <= KMODEL_MAX_WORK, KMODEL_TOO_LONG);
    }
    km_require(&vm, state->depth == 0, KMODEL_BAD_CODE);
    return vm.status;
}
