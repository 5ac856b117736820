/*
 * The functions of string.h, the first four of which any compiler may call.
 */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length) {
    uint8_t *out = to;
    const uint8_t *in = from;

    if ((((uintptr_t)out | (uintptr_t)in) & 7) == 0) {
        for (; length >= 8; length -= 8, out += 8, in += 8) {
            *(uint64_t *)out = *(const uint64_t *)in;
        }
    }
    while (length--) {
        *out++ = *in++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t length) {
    uint8_t *out = to;
    const uint8_t *in = from;

    if (out <= in || out >= in + length) {
        return memcpy(to, from, length);
    }
    while (length--) {
        out[length] = in[length];
    }
    return to;
}

void *memset(void *to, int value, size_t length) {
    uint8_t *out = to;

    while (length && ((uintptr_t)out & 7)) {
        *out++ = (uint8_t)value;
        length--;
    }
    uint64_t word = (uint8_t)value * 0x0101010101010101u;
    for (; length >= 8; length -= 8, out += 8) {
        *(uint64_t *)out = word;
    }
    while (length--) {
        *out++ = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t length) {
    const uint8_t *a = left;
    const uint8_t *b = right;

    for (size_t i = 0; i < length; i++) {
        if (a[i] != b[i]) {
            return a[i] - b[i];
        }
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;

    while (text[length]) {
        length++;
    }
    return length;
}
