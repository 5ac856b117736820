/**
 * SHA-256 (FIPS 180-4).
 */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32u
#define SHA256_BLOCK 64u

/** A digest under way. */
struct sha256 {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[SHA256_BLOCK];
};

/** Begin. */
void sha256_start(struct sha256 *sha);

/** Take more bytes. */
void sha256_add(struct sha256 *sha, const uint8_t *data, size_t length);

/** End, and give the digest. */
void sha256_finish(struct sha256 *sha, uint8_t digest[SHA256_SIZE]);

#endif
