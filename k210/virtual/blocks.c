/**
 * Counts the instructions that the emulated core executes.
 *
 * The core calls on_block() before it executes a basic block. Counting here, in C,
 * costs a few nanoseconds per block; in Python it would cost a microsecond.
 */
#include <stdint.h>

#define CACHE_SLOTS 8192u
#define SIZE_BITS 16u
#define LONG_FORM 3u /* the low bits of a 4-byte instruction */

struct known_block {
    uint64_t key;
    uint64_t instructions;
};

struct block_counter {
    uint64_t instructions; /* executed so far */
    uint64_t limit;        /* the core stops before the block that would start here */
    int (*stop)(void *core);
    const uint8_t *memory;
    uint64_t memory_size;
    uint64_t memory_base;
    uint64_t alias_base;
    struct known_block cache[CACHE_SLOTS];
};

static const uint8_t *code_at(const struct block_counter *counter, uint64_t address) {
    if (address - counter->memory_base < counter->memory_size) {
        return counter->memory + (address - counter->memory_base);
    }
    if (address - counter->alias_base < counter->memory_size) {
        return counter->memory + (address - counter->alias_base);
    }
    return 0;
}

static uint64_t count(const struct block_counter *counter, uint64_t address,
                      uint32_t size) {
    const uint8_t *code = code_at(counter, address);
    uint64_t instructions = 0;

    for (uint32_t at = 0; code && at < size; instructions++) {
        at += (code[at] & LONG_FORM) == LONG_FORM ? 4 : 2;
    }
    return instructions;
}

/** Called by the core before each basic block of `size` bytes at `address`. */
void on_block(void *core, uint64_t address, uint32_t size, void *user) {
    struct block_counter *counter = user;
    struct known_block *known = &counter->cache[(address >> 1) % CACHE_SLOTS];
    uint64_t key = address << SIZE_BITS | size;

    if (counter->instructions >= counter->limit) {
        counter->stop(core);
        return;
    }
    if (known->key != key) {
        known->key = key;
        known->instructions = count(counter, address, size);
    }
    counter->instructions += known->instructions;
}
