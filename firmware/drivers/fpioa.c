#include "fpioa.h"

#include "k210.h"

enum {
    FULL_DRIVE = 0xfu << 8,
    OUTPUT_ENABLE = 1u << 12,
    PULL_UP = 1u << 16,
    INPUT_ENABLE = 1u << 20,
    SCHMITT_TRIGGER = 1u << 23,
};

static volatile uint32_t *const fpioa = (void *)K210_FPIOA_BASE;

void fpioa_set_input(unsigned pin, enum fpioa_function function) {
    fpioa[pin] = (uint32_t)function | PULL_UP | INPUT_ENABLE | SCHMITT_TRIGGER;
}

void fpioa_set_output(unsigned pin, enum fpioa_function function) {
    fpioa[pin] = (uint32_t)function | FULL_DRIVE | OUTPUT_ENABLE;
}
