/**
 * The known answers in a model slot: does this board compute what the host did?
 *
 * k210/flash/known_answers.py has the layout.
 */
#ifndef KNOWN_H
#define KNOWN_H

#include <stdbool.h>
#include <stdint.h>

/** The known answers of a slot. */
struct known_answers {
    uint32_t address; /**< of the first input, in flash */
    uint32_t count;
    uint32_t input_size;
    uint32_t output_size;
    float tolerance; /**< by how much a float may differ; 0: not a byte may */
};

/** What became of the known answers. */
enum known_status {
    KNOWN_OK = 0,
    KNOWN_NONE = 1,    /**< the slot has none */
    KNOWN_DAMAGED = 2, /**< they are not what the host wrote */
};

/** Find the known answers of the slot at `slot_address`. */
enum known_status known_find(uint32_t slot_address, struct known_answers *known);

/** Read the input of an answer to `target`. */
void known_input(const struct known_answers *known, uint32_t index, uint8_t *target);

/** Whether the output of an answer is the known one. */
bool known_is_right(const struct known_answers *known, uint32_t index,
                    const uint8_t *output);

#endif
