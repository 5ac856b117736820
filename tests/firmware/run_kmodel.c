/*
 * Runs kmodels that the host puts into memory: a mailbox at __memory_start says where
 * they are. The program sleeps between two commands; each wake-up runs one.
 */
#include "k210.h"
#include "kmodel.h"
#include "kpu_device.h"

#include "clint.h"

enum { COMMAND_LOAD = 1, COMMAND_INFER = 2, MAX_TRACED = 4096 };

/* Filled in by the host and by us; addresses are of the cached alias. */
struct mailbox {
    uint32_t command;
    uint32_t status;
    uint32_t image;
    uint32_t image_size;
    uint32_t working;
    uint32_t working_size;
    uint32_t error_offset;
    uint32_t reserved;
    struct kmodel_memory memory;
    uint32_t reserved1;
    uint64_t work;
    uint32_t inputs;
    uint32_t outputs;
    uint32_t input[KMODEL_MAX_TENSORS];
    uint32_t output[KMODEL_MAX_TENSORS];
    /* What the hook sees: time and, at the trace's address, a copy of each tensor. */
    uint32_t trace;
    uint32_t trace_size;
    uint32_t traced;
    uint32_t reserved2;
    struct {
        uint32_t function;
        uint32_t index;
        uint32_t address;
        uint32_t size;
        uint64_t start;
        uint64_t end;
    } ops[MAX_TRACED];
};

extern struct mailbox __memory_start;

static struct mailbox *const mailbox = &__memory_start;
static struct kmodel model;
static struct kpu kpu;

/* How much of the trace's memory is used, and when the ops that run began. */
struct trace {
    uint32_t used;
    uint32_t depth;
    uint64_t start[2];
};

static void *pointer(uint32_t address) { return (void *)(uintptr_t)address; }

static void tell(void *context, const struct kmodel_op *op) {
    uint64_t now = clint_time();
    struct trace *state = context;
    uint32_t *used = &state->used;
    uint32_t number = mailbox->traced;

    if (number == MAX_TRACED) {
        return;
    }
    if (!op->done) {
        state->start[state->depth++] = now;
        return;
    }
    mailbox->ops[number].start = state->start[--state->depth];
    mailbox->ops[number].function = op->function;
    mailbox->ops[number].index = op->index;
    mailbox->ops[number].end = now;
    mailbox->ops[number].size = kmodel_view_size(&op->outputs[0]);
    mailbox->ops[number].address = 0;
    if (mailbox->ops[number].size <= mailbox->trace_size - *used) {
        mailbox->ops[number].address = mailbox->trace + *used;
        kmodel_view_read(&op->outputs[0], pointer(mailbox->trace + *used));
        *used += (mailbox->ops[number].size + 7) & ~7u;
        *used = *used < mailbox->trace_size ? *used : mailbox->trace_size;
    }
    mailbox->traced++;
}

static enum kmodel_status infer(void) {
    const void *inputs[KMODEL_MAX_TENSORS];
    void *outputs[KMODEL_MAX_TENSORS];
    struct trace trace = {0};

    for (uint32_t i = 0; i < KMODEL_MAX_TENSORS; i++) {
        inputs[i] = pointer(mailbox->input[i]);
        outputs[i] = pointer(mailbox->output[i]);
    }
    mailbox->traced = 0;
    struct kmodel_run run = {
        .kpu = &kpu,
        .inputs = inputs,
        .outputs = outputs,
        .memory = pointer(mailbox->working),
        .memory_size = mailbox->working_size,
        .hook = mailbox->trace_size != 0 ? tell : NULL,
        .hook_context = &trace,
    };
    return kmodel_infer(&model, &run);
}

static void obey(void) {
    if (mailbox->command == COMMAND_LOAD) {
        mailbox->status =
            kmodel_load(&model, pointer(mailbox->image), mailbox->image_size);
        mailbox->memory = model.memory;
        mailbox->work = model.work;
        mailbox->inputs = model.inputs;
        mailbox->outputs = model.outputs;
    } else if (mailbox->command == COMMAND_INFER) {
        mailbox->status = infer();
    }
    mailbox->error_offset = model.error_offset;
    mailbox->command = 0;
}

int main(void) {
    kpu_device_init(&kpu);
    for (;;) {
        if (mailbox->command != 0) {
            obey();
        }
        /* Tells the host where the mailbox is. */
        __asm__ volatile("mv a0, %0\n\twfi" ::"r"(mailbox) : "a0");
    }
}
