/*
 * The least program that runs a kmodel: no host, no link.
 *
 * It boots from flash, takes the model from the slot and a picture from the slot's
 * known-answer block, runs the one on the other and prints the largest output, once.
 */
#include "k210.h"
#include "kmodel.h"
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

/* Runs the model on the slot's picture; NULL, or what is wrong. */
static const char *run(uint8_t *free, uint32_t *class) {
    struct kmodel_tensor input, output;
    struct slot_kmodel picture;
    struct kpu kpu;

    if (model.inputs != 1 || model.outputs != 1) {
        return "the model does not have one input and one output";
    }
    kmodel_input(&model, 0, &input);
    kmodel_output(&model, 0, &output);
    if (!slot_find_known_answers(SLOT_ADDRESS, &picture) ||
        picture.length < input.size) {
        return "there is no picture in the slot";
    }
    const void *inputs[] = {take(&free, input.size)};
    void *outputs[] = {take(&free, output.size)};
    struct kmodel_run run = {.kpu = &kpu, .inputs = inputs, .outputs = outputs};
    run.memory_size = model.memory.working;
    run.memory = take(&free, run.memory_size);
    if (run.memory == NULL) {
        return "the memory is too small";
    }
    nor_read(picture.address, (uint8_t *)inputs[0], input.size);
    kpu_device_init(&kpu);
    enum kmodel_status status = kmodel_infer(&model, &run);
    *class = largest(outputs[0], output.size / sizeof(float));
    return status == KMODEL_OK ? NULL : kmodel_message(status);
}

int main(void) {
    uint8_t *free = __memory_start;
    uint32_t class = 0;

    sysctl_init();
    nor_init();
    uart_init(BAUD);
    const char *problem = load(&free);
    if (problem == NULL) {
        problem = run(free, &class);
    }
    if (problem != NULL) {
        print("error: ");
        print(problem);
    } else {
        print("class ");
        print_number(class);
    }
    print("\n");
    for (;;) {
        __asm__ volatile("wfi");
    }
}
