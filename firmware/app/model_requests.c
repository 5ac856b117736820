#include <string.h>

#include "bytes.h"
#include "known.h"
#include "link.h"
#include "model.h"
#include "reply.h"
#include "slot.h"

enum {
    TENSOR_HEADER_SIZE = 4,
    DIMENSION_SIZE = 4,
    MAX_TENSOR_SIZE = TENSOR_HEADER_SIZE + DIMENSION_SIZE * KMODEL_MAX_RANK,
    REFUSAL_HEADER_SIZE = 8,
    REFUSAL_SIZE = 200,
    OP_SIZE = 16,
    TRACE_SIZE = 12,
    SLOT_SIZE = 4,
    SELF_TEST_SIZE = 12,
};

static bool refuse_model(const struct request *request, enum kmodel_status status) {
    uint8_t data[REFUSAL_SIZE];
    const char *message = kmodel_message(status);
    size_t length = strlen(message);

    if (status == KMODEL_NO_MEMORY) {
        return reply(request, REPLY_NO_ROOM, NULL, 0);
    }
    if (length > REFUSAL_SIZE - REFUSAL_HEADER_SIZE) {
        length = REFUSAL_SIZE - REFUSAL_HEADER_SIZE;
    }
    put_u32(data, status);
    put_u32(data + 4, model_get()->error_offset);
    memcpy(data + REFUSAL_HEADER_SIZE, message, length);
    return reply(request, REPLY_MODEL_REFUSED, data, REFUSAL_HEADER_SIZE + length);
}

static bool load(const struct request *request, uint32_t size) {
    enum kmodel_status status = model_load(size);

    return status == KMODEL_OK ? reply(request, REPLY_OK, NULL, 0)
                               : refuse_model(request, status);
}

static bool load_slot(const struct request *request) {
    struct slot_kmodel kmodel;
    uint8_t payload[SLOT_SIZE];

    if (request->length != sizeof payload) {
        return reply_refuse(request, request->length, REPLY_BAD_REQUEST);
    }
    if (!link_read(payload, sizeof payload)) {
        return false;
    }
    if (!slot_find(get_u32(payload), &kmodel)) {
        return reply(request, REPLY_NO_SLOT, NULL, 0);
    }
    if (kmodel.length > model_room()) {
        return reply(request, REPLY_NO_ROOM, NULL, 0);
    }
    if (!slot_read(&kmodel, model_image())) {
        return reply(request, REPLY_SLOT_DAMAGED, NULL, 0);
    }
    return load(request, kmodel.length);
}

static bool load_bytes(const struct request *request) {
    if (request->length > model_room()) {
        return reply_refuse(request, request->length, REPLY_NO_ROOM);
    }
    return link_read(model_image(), request->length) && load(request, request->length);
}

static size_t put_shape(uint8_t *at, enum kmodel_type type, uint32_t rank,
                        const uint32_t *shape) {
    put_u16(at, (uint16_t)type);
    put_u16(at + 2, (uint16_t)rank);
    for (uint32_t i = 0; i < rank; i++) {
        put_u32(at + TENSOR_HEADER_SIZE + DIMENSION_SIZE * i, shape[i]);
    }
    return TENSOR_HEADER_SIZE + DIMENSION_SIZE * rank;
}

/* Tensor `index` of all, the inputs first; false if there are no more. */
static bool find_tensor(uint32_t index, struct kmodel_tensor *tensor) {
    const struct kmodel *model = model_get();

    return kmodel_describe(model, KMODEL_INPUT, index, tensor) ||
           kmodel_describe(model, KMODEL_OUTPUT, index - model->inputs, tensor);
}

static bool describe(const struct request *request) {
    const struct kmodel *model = model_get();
    const uint32_t words[] = {
        model->inputs,         model->outputs,       model->memory.working,
        model->memory.data,    model->memory.inputs, model->memory.outputs,
        model->memory.kpu_ram,
    };
    uint8_t data[MAX_TENSOR_SIZE];
    size_t length = sizeof words;
    struct kmodel_tensor tensor;

    _Static_assert(sizeof words <= sizeof data, "room for the first part, too");
    for (uint32_t i = 0; find_tensor(i, &tensor); i++) {
        length += put_shape(data, tensor.type, tensor.rank, tensor.shape);
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        put_u32(data + i * sizeof words[0], words[i]);
    }
    if (!link_skip(request->length) || !reply_begin(request, REPLY_OK, length) ||
        !link_write(data, sizeof words)) {
        return false;
    }
    for (uint32_t i = 0; find_tensor(i, &tensor); i++) {
        length = put_shape(data, tensor.type, tensor.rank, tensor.shape);
        if (!link_write(data, length)) {
            return false;
        }
    }
    return true;
}

static bool infer(const struct request *request) {
    uint32_t size;
    uint8_t *inputs = model_inputs(&size);

    if (request->length != size) {
        return reply_refuse(request, request->length, REPLY_BAD_REQUEST);
    }
    if (!link_read(inputs, size)) {
        return false;
    }
    enum kmodel_status status = model_infer();

    if (status != KMODEL_OK) {
        return refuse_model(request, status);
    }
    const uint8_t *outputs = model_outputs(&size);

    return reply(request, REPLY_OK, outputs, size);
}

static bool timings(const struct request *request) {
    uint32_t count;
    const struct model_op *ops = model_ops(&count);

    if (!link_skip(request->length) ||
        !reply_begin(request, REPLY_OK, (size_t)count * OP_SIZE)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t data[OP_SIZE];

        put_u32(data, ops[i].function);
        put_u32(data + 4, ops[i].index);
        put_u64(data + 8, ops[i].ticks);
        if (!link_write(data, sizeof data)) {
            return false;
        }
    }
    return true;
}

static bool trace(const struct request *request) {
    uint8_t payload[TRACE_SIZE];
    uint8_t header[MAX_TENSOR_SIZE];
    struct kmodel_view view;
    const uint8_t *data;

    if (request->length != sizeof payload) {
        return reply_refuse(request, request->length, REPLY_BAD_REQUEST);
    }
    if (!link_read(payload, sizeof payload)) {
        return false;
    }
    enum kmodel_status status = model_trace(get_u32(payload), get_u32(payload + 4),
                                            get_u32(payload + 8), &view, &data);

    if (status != KMODEL_OK) {
        return refuse_model(request, status);
    }
    if (!data) {
        return reply(request, REPLY_NO_SUCH_OP, NULL, 0);
    }
    size_t length = put_shape(header, view.type, view.rank, view.shape);
    uint32_t size = kmodel_view_size(&view);

    return reply_begin(request, REPLY_OK, length + size) &&
           link_write(header, length) && link_write(data, size);
}

/* Run the known answers; gives how many are wrong, and which one is the first. */
static enum kmodel_status run_known(const struct known_answers *known, uint32_t *wrong,
                                    uint32_t *first) {
    uint32_t size;

    *wrong = 0;
    *first = 0;
    for (uint32_t i = 0; i < known->count; i++) {
        known_input(known, i, model_inputs(&size));
        enum kmodel_status status = model_infer();

        if (status != KMODEL_OK) {
            return status;
        }
        if (!known_is_right(known, i, model_outputs(&size))) {
            *first = *wrong == 0 ? i : *first;
            *wrong += 1;
        }
    }
    return KMODEL_OK;
}

/* Whether the answers are those of a model like the one that is loaded. */
static bool are_of_model(const struct known_answers *known) {
    uint32_t inputs, outputs;

    (void)model_inputs(&inputs);
    (void)model_outputs(&outputs);
    return known->input_size == inputs && known->output_size == outputs;
}

static bool self_test(const struct request *request) {
    struct known_answers known;
    uint8_t data[SELF_TEST_SIZE];
    uint32_t wrong, first;

    if (request->length != SLOT_SIZE) {
        return reply_refuse(request, request->length, REPLY_BAD_REQUEST);
    }
    if (!link_read(data, SLOT_SIZE)) {
        return false;
    }
    enum known_status found = known_find(get_u32(data), &known);

    if (found == KNOWN_NONE) {
        return reply(request, REPLY_NO_ANSWERS, NULL, 0);
    }
    if (found != KNOWN_OK || !are_of_model(&known)) {
        return reply(request, REPLY_SLOT_DAMAGED, NULL, 0);
    }
    enum kmodel_status status = run_known(&known, &wrong, &first);

    if (status != KMODEL_OK) {
        return refuse_model(request, status);
    }
    put_u32(data, known.count);
    put_u32(data + 4, wrong);
    put_u32(data + 8, first);
    return reply(request, REPLY_OK, data, sizeof data);
}

static bool forget(const struct request *request) {
    (void)model_image();
    return link_skip(request->length) && reply(request, REPLY_OK, NULL, 0);
}

bool model_request(const struct request *request) {
    switch (request->op) {
    case REQUEST_LOAD_SLOT:
        return load_slot(request);
    case REQUEST_LOAD_BYTES:
        return load_bytes(request);
    case REQUEST_FORGET:
        return forget(request);
    default:
        break;
    }
    if (!model_loaded()) {
        return reply_refuse(request, request->length, REPLY_NO_MODEL);
    }
    switch (request->op) {
    case REQUEST_DESCRIBE:
        return describe(request);
    case REQUEST_INFER:
        return infer(request);
    case REQUEST_TIMINGS:
        return timings(request);
    case REQUEST_SELF_TEST:
        return self_test(request);
    default:
        return trace(request);
    }
}
