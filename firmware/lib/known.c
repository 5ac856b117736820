#include "known.h"

#include <string.h>

#include "bytes.h"
#include "nor.h"
#include "slot.h"

enum {
    VERSION = 1,
    VERSION_AT = 8,
    COUNT_AT = 12,
    INPUT_SIZE_AT = 16,
    OUTPUT_SIZE_AT = 20,
    TOLERANCE_AT = 24,
    HEADER_SIZE = 32,
    PIECE = 256,
};

static const char magic[] = "K210KNOW";

static float get_float(const uint8_t *at) {
    float value;
    uint32_t bits = get_u32(at);

    memcpy(&value, &bits, sizeof value);
    return value;
}

enum known_status known_find(uint32_t slot_address, struct known_answers *known) {
    struct slot_kmodel block;
    uint8_t header[HEADER_SIZE];

    if (!slot_find_known_answers(slot_address, &block)) {
        return KNOWN_NONE;
    }
    if (block.length < HEADER_SIZE || !slot_is_whole(&block)) {
        return KNOWN_DAMAGED;
    }
    nor_read(block.address, header, sizeof header);
    known->address = block.address + HEADER_SIZE;
    known->count = get_u32(header + COUNT_AT);
    known->input_size = get_u32(header + INPUT_SIZE_AT);
    known->output_size = get_u32(header + OUTPUT_SIZE_AT);
    known->tolerance = get_float(header + TOLERANCE_AT);
    uint64_t pair = (uint64_t)known->input_size + known->output_size;

    return memcmp(header, magic, sizeof magic - 1) == 0 &&
                   get_u32(header + VERSION_AT) == VERSION && pair <= block.length &&
                   block.length - HEADER_SIZE == known->count * pair
               ? KNOWN_OK
               : KNOWN_DAMAGED;
}

static uint32_t place(const struct known_answers *known, uint32_t index) {
    return known->address + index * (known->input_size + known->output_size);
}

void known_input(const struct known_answers *known, uint32_t index, uint8_t *target) {
    nor_read(place(known, index), target, known->input_size);
}

static bool is_near(const uint8_t *one, const uint8_t *other, uint32_t size,
                    float tolerance) {
    for (uint32_t i = 0; i + sizeof(float) <= size; i += sizeof(float)) {
        float gap = get_float(one + i) - get_float(other + i);

        if (!(gap <= tolerance && -gap <= tolerance)) { /* not a number is not near */
            return false;
        }
    }
    return true;
}

bool known_is_right(const struct known_answers *known, uint32_t index,
                    const uint8_t *output) {
    uint32_t address = place(known, index) + known->input_size;
    uint8_t piece[PIECE];

    for (uint32_t done = 0; done < known->output_size; done += PIECE) {
        uint32_t left = known->output_size - done;
        uint32_t size = left < PIECE ? left : PIECE;

        nor_read(address + done, piece, size);
        if (memcmp(piece, output + done, size) != 0 &&
            (known->tolerance == 0 ||
             !is_near(piece, output + done, size, known->tolerance))) {
            return false;
        }
    }
    return true;
}
