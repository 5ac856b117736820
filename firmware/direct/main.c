/*
 * Runs kmodels that somebody puts into memory, without a link: for the virtual board,
 * where the host can. It measures the runtime alone, and can be given anything.
 *
 * A mailbox lies at __memory_start; when the program sleeps, a0 holds its address. Who
 * fills it in and wakes the program finds the result there when it sleeps again.
 */
#include "clint.h"
#include "k210.h"
#include "kmodel.h"
#include "kpu_device.h"
#include "sysctl.h"

enum { COMMAND_NONE, COMMAND_LOAD, COMMAND_INFER };

enum { MAX_RECORDS = 4096, NESTED_OPS = 2 };

/* One output of one operation; address 0 when it was not copied. */
struct record {
    uint32_t function;
    uint32_t index;
    uint32_t output;
    uint32_t size;
    uint64_t address;
    uint64_t start; /* MTIME */
    uint64_t end;
};

/* All addresses are those of the cached alias. */
struct mailbox {
    uint64_t command;
    uint64_t status;
    uint64_t error_offset;
    uint64_t image;
    uint64_t image_size;
    uint64_t working;
    uint64_t working_size;
    uint64_t start; /* MTIME around the inference */
    uint64_t end;
    /* Of a loaded model. */
    uint64_t needs_working;
    uint64_t kpu_ram;
    uint64_t work;
    uint64_t inputs;
    uint64_t outputs;
    /* Record the operations' outputs from `skip` on; copy them while there is room. */
    uint64_t record;
    uint64_t skip;
    uint64_t room;
    uint64_t room_size;
    uint64_t records;
    /* Addresses, to run a model; the answer to loading one has the sizes here. */
    uint64_t input[KMODEL_MAX_TENSORS];
    uint64_t output[KMODEL_MAX_TENSORS];
    struct record recorded[MAX_RECORDS];
};

extern struct mailbox __memory_start;

static struct mailbox *const mailbox = &__memory_start;
static struct kmodel model;
static struct kpu kpu;

/* When the operations that are under way began: a call, and one within it. */
static struct {
    uint32_t depth;
    uint64_t start[NESTED_OPS];
} under_way;

static void *pointer(uint64_t address) { return (void *)(uintptr_t)address; }

/* Copies a tensor into the room, if it fits. */
static uint64_t copy_tensor(const struct kmodel_view *view, uint32_t size) {
    uint64_t taken = ((uint64_t)size + 7) & ~UINT64_C(7);
    uint64_t address = mailbox->room;

    if (taken > mailbox->room_size) {
        mailbox->room_size = 0; /* the rest is for another run */
        return 0;
    }
    kmodel_view_read(view, pointer(address));
    mailbox->room += taken;
    mailbox->room_size -= taken;
    return address;
}

static void record(const struct kmodel_op *op, uint32_t output, uint64_t start,
                   uint64_t end) {
    uint64_t number = mailbox->records++;
    if (number < mailbox->skip || number - mailbox->skip >= MAX_RECORDS) {
        return;
    }
    const struct kmodel_view *view = &op->outputs[output];
    struct record *target = &mailbox->recorded[number - mailbox->skip];
    target->function = op->function;
    target->index = op->index;
    target->output = output;
    target->size = kmodel_view_size(view);
    target->address = copy_tensor(view, target->size);
    target->start = start;
    target->end = end;
}

static void around_op(void *context, const struct kmodel_op *op) {
    (void)context;
    if (!op->done) {
        under_way.start[under_way.depth++] = clint_time();
        return;
    }
    uint64_t end = clint_time();
    uint64_t start = under_way.start[--under_way.depth];
    for (uint32_t i = 0; i < op->output_count; i++) {
        record(op, i, start, end);
    }
}

static enum kmodel_status infer(void) {
    const void *inputs[KMODEL_MAX_TENSORS];
    void *outputs[KMODEL_MAX_TENSORS];

    for (uint32_t i = 0; i < KMODEL_MAX_TENSORS; i++) {
        inputs[i] = pointer(mailbox->input[i]);
        outputs[i] = pointer(mailbox->output[i]);
    }
    struct kmodel_run run = {
        .kpu = &kpu,
        .inputs = inputs,
        .outputs = outputs,
        .memory = pointer(mailbox->working),
        .memory_size = (uint32_t)mailbox->working_size,
        .hook = mailbox->record != 0 ? around_op : NULL,
    };
    under_way.depth = 0;
    mailbox->records = 0;
    mailbox->start = clint_time();
    enum kmodel_status status = kmodel_infer(&model, &run);
    mailbox->end = clint_time();
    return status;
}

static enum kmodel_status load(void) {
    enum kmodel_status status =
        kmodel_load(&model, pointer(mailbox->image), mailbox->image_size);
    mailbox->needs_working = model.memory.working;
    mailbox->kpu_ram = model.memory.kpu_ram;
    mailbox->work = model.work;
    mailbox->inputs = model.inputs;
    mailbox->outputs = model.outputs;
    for (uint32_t i = 0; i < KMODEL_MAX_TENSORS; i++) {
        struct kmodel_tensor tensor;

        mailbox->input[i] =
            kmodel_describe(&model, KMODEL_INPUT, i, &tensor) ? tensor.size : 0;
        mailbox->output[i] =
            kmodel_describe(&model, KMODEL_OUTPUT, i, &tensor) ? tensor.size : 0;
    }
    return status;
}

static void obey(void) {
    if (mailbox->command == COMMAND_LOAD) {
        mailbox->status = load();
    } else if (mailbox->command == COMMAND_INFER) {
        mailbox->status = infer();
    }
    mailbox->error_offset = model.error_offset;
    mailbox->command = COMMAND_NONE;
}

int main(void) {
    sysctl_init();
    kpu_device_init(&kpu);
    for (;;) {
        obey();
        __asm__ volatile("mv a0, %0\n\twfi" ::"r"(mailbox) : "a0", "memory");
    }
}
