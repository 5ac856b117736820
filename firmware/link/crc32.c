#include "crc32.h"

#define POLYNOMIAL 0xedb88320u
#define BITS 4u
#define ENTRIES (1u << BITS)

/* Two lookups a byte: a table small enough to write down by its rule. */
#define STEP(c) ((c) >> 1 ^ ((c) & 1u ? POLYNOMIAL : 0u))
#define ENTRY(c) STEP(STEP(STEP(STEP((uint32_t)(c)))))

static const uint32_t table[ENTRIES] = {
    ENTRY(0),  ENTRY(1),  ENTRY(2),  ENTRY(3),  ENTRY(4),  ENTRY(5),
    ENTRY(6),  ENTRY(7),  ENTRY(8),  ENTRY(9),  ENTRY(10), ENTRY(11),
    ENTRY(12), ENTRY(13), ENTRY(14), ENTRY(15),
};

uint32_t crc32(uint32_t crc, const uint8_t *data, size_t length) {
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        crc = crc >> BITS ^ table[crc % ENTRIES];
        crc = crc >> BITS ^ table[crc % ENTRIES];
    }
    return ~crc;
}
