/*
 * The least program that runs a kmodel: no host, no link.
 *
 * It boots from flash, takes the model from the slot, runs it on the inputs in the
 * slot's known-answer block, and prints the largest output of each, and whether it
 * gives what the host's model gave: a board that checks itself.
 */
#include "k210.h"
#include "kmodel.h"
#include "known.h"
#include "kpu_device.h"
#include "nor.h"
#include "slot.h"
#include "sysctl.h"
#include "uart.h"

enum { BAUD = 115200, NUMBER_SIZE = 10 };

extern uint8_t __memory_start[];
extern uint8_t __memory_end[];

static struct kmodel model;

static void print(const char *text) {
    size_t length = 0;

    while (text[length] != '\0') {
        length++;
    }
    uart_write((const uint8_t *)text, length);
}

static void print_number(uint32_t number) {
    char digits[NUMBER_SIZE + 1];
    char *first = digits + NUMBER_SIZE;

    *first = '\0';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    print(first);
}

/* Aligned memory behind what has been given out. */
static uint8_t *take(uint8_t **free, uint32_t size) {
    uintptr_t start =
        ((uintptr_t)*free + KMODEL_ALIGNMENT - 1) & ~(uintptr_t)(KMODEL_ALIGNMENT - 1);

    *free = (uint8_t *)start + size;
    return *free <= __memory_end ? (uint8_t *)start : NULL;
}

static uint32_t largest(const float *values, uint32_t count) {
    uint32_t best = 0;

    for (uint32_t i = 1; i < count; i++) {
        best = values[i] > values[best] ? i : best;
    }
    return best;
}

/* Loads the slot's kmodel; NULL, or what is wrong. */
static const char *load(uint8_t **free) {
    struct slot_kmodel slot;

    if (!slot_find(SLOT_ADDRESS, &slot)) {
        return "there is no model in the slot";
    }
    uint8_t *image = take(free, slot.length);
    /* Past the cache: the KPU reads the weights from memory. */
    if (image == NULL || !slot_read(&slot, k210_uncached(image))) {
        return "the model in the slot is damaged or too large";
    }
    enum kmodel_status status = kmodel_load(&model, image, slot.length);
    return status == KMODEL_OK ? NULL : kmodel_message(status);
}

/* Runs the model on one known input, and prints its class and whether that is right. */
static enum kmodel_status show(const struct kmodel_run *run,
                               const struct known_answers *known, uint32_t index) {
    known_input(known, index, (uint8_t *)run->inputs[0]);
    enum kmodel_status status = kmodel_infer(&model, run);

    if (status == KMODEL_OK) {
        print("class ");
        print_number(largest(run->outputs[0], known->output_size / sizeof(float)));
        print(known_is_right(known, index, run->outputs[0]) ? ", right\n"
                                                            : ", wrong\n");
    }
    return status;
}

/* Runs the model on the slot's known answers; NULL, or what is wrong. */
static const char *run_known(uint8_t *free) {
    struct kmodel_tensor input, output;
    struct known_answers known;
    struct kpu kpu;

    if (model.inputs != 1 || model.outputs != 1) {
        return "the model does not have one input and one output";
    }
    kmodel_describe(&model, KMODEL_INPUT, 0, &input);
    kmodel_describe(&model, KMODEL_OUTPUT, 0, &output);
    if (known_find(SLOT_ADDRESS, &known) != KNOWN_OK ||
        known.input_size != input.size || known.output_size != output.size) {
        return "there are no known answers in the slot";
    }
    const void *inputs[] = {take(&free, input.size)};
    void *outputs[] = {take(&free, output.size)};
    struct kmodel_run run = {.kpu = &kpu, .inputs = inputs, .outputs = outputs};
    run.memory_size = model.memory.working;
    run.memory = take(&free, run.memory_size);
    if (run.memory == NULL) {
        return "the memory is too small";
    }
    kpu_device_init(&kpu);
    for (uint32_t i = 0; i < known.count; i++) {
        enum kmodel_status status = show(&run, &known, i);

        if (status != KMODEL_OK) {
            return kmodel_message(status);
        }
    }
    return NULL;
}

int main(void) {
    uint8_t *free = __memory_start;

    sysctl_init();
    nor_init();
    uart_init(BAUD);
    const char *problem = load(&free);
    if (problem == NULL) {
        problem = run_known(free);
    }
    print(problem == NULL ? "done" : "error: ");
    print(problem == NULL ? "" : problem);
    print("\n");
    for (;;) {
        __asm__ volatile("wfi");
    }
}
