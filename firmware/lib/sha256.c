#include "sha256.h"

enum { ROUNDS = 64, LENGTH_SIZE = 8, END_MARK = 0x80 };

static const uint32_t constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
};

static uint32_t rotate(uint32_t word, unsigned bits) {
    return word >> bits | word << (32 - bits);
}

static uint32_t big_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
           (uint32_t)bytes[2] << 8 | bytes[3];
}

static void expand(const uint8_t *block, uint32_t words[ROUNDS]) {
    for (unsigned i = 0; i < 16; i++) {
        words[i] = big_endian(block + 4 * i);
    }
    for (unsigned i = 16; i < ROUNDS; i++) {
        uint32_t a = words[i - 15];
        uint32_t b = words[i - 2];

        words[i] = words[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
                   words[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
}

static void compress(struct sha256 *sha, const uint8_t *block) {
    uint32_t words[ROUNDS];
    uint32_t s[8];

    expand(block, words);
    for (unsigned i = 0; i < 8; i++) {
        s[i] = sha->state[i];
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t sum1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
        uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t first = s[7] + sum1 + choice + constants[i] + words[i];
        uint32_t sum0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
        uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);

        for (unsigned j = 7; j > 0; j--) {
            s[j] = s[j - 1];
        }
        s[4] += first;
        s[0] = first + sum0 + majority;
    }
    for (unsigned i = 0; i < 8; i++) {
        sha->state[i] += s[i];
    }
}

void sha256_start(struct sha256 *sha) {
    static const uint32_t first[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };

    for (unsigned i = 0; i < 8; i++) {
        sha->state[i] = first[i];
    }
    sha->length = 0;
}

void sha256_add(struct sha256 *sha, const uint8_t *data, size_t length) {
    while (length) {
        size_t at = sha->length % SHA256_BLOCK;

        if (!at && length >= SHA256_BLOCK) {
            compress(sha, data);
            data += SHA256_BLOCK;
            length -= SHA256_BLOCK;
            sha->length += SHA256_BLOCK;
            continue;
        }
        sha->block[at] = *data++;
        sha->length++;
        length--;
        if (at + 1 == SHA256_BLOCK) {
            compress(sha, sha->block);
        }
    }
}

void sha256_finish(struct sha256 *sha, uint8_t digest[SHA256_SIZE]) {
    static const uint8_t zero = 0;
    uint8_t mark = END_MARK;
    uint8_t length[LENGTH_SIZE];

    for (unsigned i = 0; i < LENGTH_SIZE; i++) {
        length[i] = (uint8_t)(sha->length * 8 >> 8 * (LENGTH_SIZE - 1 - i));
    }
    sha256_add(sha, &mark, 1);
    while (sha->length % SHA256_BLOCK != SHA256_BLOCK - LENGTH_SIZE) {
        sha256_add(sha, &zero, 1);
    }
    sha256_add(sha, length, LENGTH_SIZE);
    for (unsigned i = 0; i < SHA256_SIZE; i++) {
        digest[i] = (uint8_t)(sha->state[i / 4] >> 8 * (3 - i % 4));
    }
}
