/**
 * Reads little-endian fields from a bounded part of a file, at any alignment.
 *
 * Reading past the end yields zeros and sets `failed`, so that a structure can be read
 * whole and judged once.
 */
#ifndef KM_READER_H
#define KM_READER_H

#include <stdbool.h>
#include <stdint.h>

/** A cursor: bytes `at` to `end` of `data`. */
struct km_reader {
    const uint8_t *data;
    uint32_t at;
    uint32_t end;
    bool failed;
};

/** Bytes left. */
uint32_t km_left(const struct km_reader *reader);

/** Moves past `count` bytes; returns the first, or NULL if they are not there. */
const uint8_t *km_take(struct km_reader *reader, uint32_t count);

/** Moves to the next multiple of `alignment`, a power of two, over zeros only. */
bool km_align(struct km_reader *reader, uint32_t alignment);

/** Whether the next `count` bytes are zero; moves past them. */
bool km_zeros(struct km_reader *reader, uint32_t count);

uint8_t km_u8(struct km_reader *reader);
uint16_t km_u16(struct km_reader *reader);
uint32_t km_u32(struct km_reader *reader);
int32_t km_i32(struct km_reader *reader);
uint64_t km_u64(struct km_reader *reader);
float km_f32(struct km_reader *reader);

#endif
