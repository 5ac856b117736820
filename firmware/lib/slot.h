/**
 * The model slot in flash; k210/flash/slot.py has its layout.
 */
#ifndef SLOT_H
#define SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "sha256.h"

/** Where the host puts the slot unless told otherwise. */
#define SLOT_ADDRESS 0x100000u

/** The kmodel in a slot. */
struct slot_kmodel {
    uint32_t address; /**< in flash */
    uint32_t length;
    uint8_t digest[SHA256_SIZE];
};

/** Find the kmodel of the slot at `address`; false if no header that is whole is there.
 */
bool slot_find(uint32_t address, struct slot_kmodel *kmodel);

/** Where the known-answer block of the slot at `address` lies, which `known.h` reads;
 *  false if the slot has none.
 */
bool slot_find_known_answers(uint32_t address, struct slot_kmodel *block);

/** Copy the kmodel to `target`; false if its digest is wrong. */
bool slot_read(const struct slot_kmodel *kmodel, uint8_t *target);

/** Whether a part of a slot has the digest that the header promises. */
bool slot_is_whole(const struct slot_kmodel *part);

#endif
