#include "reader.h"

#include <stddef.h>
#include <string.h>

uint32_t km_left(const struct km_reader *reader) { return reader->end - reader->at; }

const uint8_t *km_take(struct km_reader *reader, uint32_t count) {
    if (reader->failed || count > km_left(reader)) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *bytes = reader->data + reader->at;
    reader->at += count;
    return bytes;
}

bool km_zeros(struct km_reader *reader, uint32_t count) {
    const uint8_t *bytes = km_take(reader, count);
    uint8_t any = 0;
    for (uint32_t i = 0; bytes != NULL && i < count; i++) {
        any |= bytes[i];
    }
    return bytes != NULL && any == 0;
}

bool km_align(struct km_reader *reader, uint32_t alignment) {
    return km_zeros(reader, -reader->at & (alignment - 1));
}

static uint64_t read_bytes(struct km_reader *reader, uint32_t count) {
    const uint8_t *bytes = km_take(reader, count);
    uint64_t value = 0;
    for (uint32_t i = 0; bytes != NULL && i < count; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

uint8_t km_u8(struct km_reader *reader) { return (uint8_t)read_bytes(reader, 1); }

uint16_t km_u16(struct km_reader *reader) { return (uint16_t)read_bytes(reader, 2); }

uint32_t km_u32(struct km_reader *reader) { return (uint32_t)read_bytes(reader, 4); }

int32_t km_i32(struct km_reader *reader) { return (int32_t)km_u32(reader); }

uint64_t km_u64(struct km_reader *reader) { return read_bytes(reader, 8); }

float km_f32(struct km_reader *reader) {
    uint32_t bits = km_u32(reader);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
