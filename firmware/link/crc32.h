/**
 * CRC-32 as zip and Ethernet have it.
 */
#ifndef CRC32_H
#define CRC32_H

#include <stddef.h>
#include <stdint.h>

/** The CRC of `data`, continuing from `crc`, which is 0 at the start. */
uint32_t crc32(uint32_t crc, const uint8_t *data, size_t length);

#endif
