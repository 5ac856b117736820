/* Facts: the SDK's kpu.h and kpu.c. Polled, one layer at a time, no interrupt. */
#include "kpu_device.h"

#include "k210.h"
#include "sysctl.h"

/* Every register is accessed with 64 bits. */
struct kpu_registers {
    uint64_t layer_fifo;
    uint64_t interrupt_status;
    uint64_t interrupt_raw;
    uint64_t interrupt_mask;
    uint64_t interrupt_clear;
    uint64_t fifo_threshold;
    uint64_t fifo_data_out;
    uint64_t fifo_control;
    uint64_t eight_bit_mode;
};

_Static_assert(offsetof(struct kpu_registers, eight_bit_mode) == 0x40,
               "EIGHT_BIT_MODE");

enum {
    KPU_RAM_OFFSET = 0x600000,
    CALC_DONE = 1u << 0,
    ALL_INTERRUPTS = 7,
    FIFO_FULL = 10, /* words at which the FIFO counts as full, or empty */
    FIFO_EMPTY = 1,
    FIFO_EMPTY_SHIFT = 4,
    INTERRUPT_ENABLE_WORD = 0,
    BATCH_NORM_WORD = 4,
    WEIGHTS_WORD = 5,
    ACTIVATION_WORD = 7,
    ADDRESS_SHIFT = 32,
};

static const uintptr_t ALIAS_MASK = K210_MEMORY_BASE | K210_UNCACHED_OFFSET;

/* Far longer than any layer that fits takes, even at a tenth of the clock. */
static const uint32_t POLL_LIMIT = 1u << 30;

static volatile struct kpu_registers *const registers = (void *)K210_KPU_BASE;

/* Accepts either alias. */
static uintptr_t uncached_address(const void *address) {
    return ((uintptr_t)address & ~ALIAS_MASK) | K210_UNCACHED_OFFSET;
}

static void *uncached(void *context, const void *address) {
    (void)context;
    return (void *)uncached_address(address);
}

static bool wait_until_done(void) {
    for (uint32_t i = 0; i < POLL_LIMIT; i++) {
        if ((registers->interrupt_status & CALC_DONE) != 0) {
            return true;
        }
    }
    return false;
}

static bool run(void *context, const struct kpu_layer *layer) {
    (void)context;
    uint64_t words[KPU_LAYER_WORDS];
    for (uint32_t i = 0; i < KPU_LAYER_WORDS; i++) {
        words[i] = layer->words[i];
    }
    words[INTERRUPT_ENABLE_WORD] |= 1;
    words[BATCH_NORM_WORD] |= (uint64_t)uncached_address(layer->batch_norm)
                              << ADDRESS_SHIFT;
    words[WEIGHTS_WORD] |= (uint64_t)uncached_address(layer->weights) << ADDRESS_SHIFT;
    words[ACTIVATION_WORD] |= (uint64_t)uncached_address(layer->activation)
                              << ADDRESS_SHIFT;
    registers->interrupt_clear = ALL_INTERRUPTS;
    registers->interrupt_mask = ALL_INTERRUPTS & ~CALC_DONE;
    __asm__ volatile("fence" ::: "memory"); /* what the KPU reads has been written */
    for (uint32_t i = 0; i < KPU_LAYER_WORDS; i++) {
        registers->layer_fifo = words[i];
    }
    bool done = wait_until_done();
    registers->interrupt_clear = ALL_INTERRUPTS;
    registers->interrupt_mask = ALL_INTERRUPTS;
    __asm__ volatile("fence" ::: "memory");
    return done;
}

void kpu_device_init(struct kpu *kpu) {
    sysctl_start_kpu_clock();
    registers->interrupt_clear = ALL_INTERRUPTS;
    registers->interrupt_mask = ALL_INTERRUPTS;
    registers->fifo_threshold = FIFO_FULL | FIFO_EMPTY << FIFO_EMPTY_SHIFT;
    registers->eight_bit_mode = 1;
    kpu->context = NULL;
    kpu->ram = (uint8_t *)(uintptr_t)(K210_MEMORY_BASE - K210_UNCACHED_OFFSET +
                                      KPU_RAM_OFFSET);
    kpu->run = run;
    kpu->uncached = uncached;
}
