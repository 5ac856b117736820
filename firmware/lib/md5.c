#include "md5.h"

enum { STEPS = 64, LENGTH_SIZE = 8, END_MARK = 0x80, WORD_SIZE = 4 };

static const uint32_t constants[STEPS] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613,
    0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193,
    0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d,
    0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed,
    0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122,
    0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
    0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244,
    0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb,
    0xeb86d391,
};

static inline uint32_t rotate(uint32_t word, unsigned bits) {
    return word << bits | word >> (32 - bits);
}

/* The four functions; the first two are those of the RFC, with an operation less. */
#define CHOOSE(b, c, d) ((d) ^ ((b) & ((c) ^ (d))))
#define CHOOSE_OTHER(b, c, d) ((c) ^ ((d) & ((b) ^ (c))))
#define PARITY(b, c, d) ((b) ^ (c) ^ (d))
#define MIX(b, c, d) ((c) ^ ((b) | ~(d)))

#define STEP(function, a, b, c, d, word, constant, bits)                               \
    ((a) = (b) + rotate((a) + function(b, c, d) + (word) + (constant), bits))

/* Four steps of a round whose step `i` takes word i * stride + first. */
#define FOUR(function, i, stride, first, s0, s1, s2, s3)                               \
    STEP(function, a, b, c, d, words[((i) * (stride) + (first)) % 16], k[i], s0);      \
    STEP(function, d, a, b, c, words[((i) * (stride) + (stride) + (first)) % 16],      \
         k[(i) + 1], s1);                                                              \
    STEP(function, c, d, a, b, words[((i) * (stride) + 2 * (stride) + (first)) % 16],  \
         k[(i) + 2], s2);                                                              \
    STEP(function, b, c, d, a, words[((i) * (stride) + 3 * (stride) + (first)) % 16],  \
         k[(i) + 3], s3)

#define ROUND(function, stride, first, s0, s1, s2, s3)                                 \
    do {                                                                               \
        FOUR(function, 0, stride, first, s0, s1, s2, s3);                              \
        FOUR(function, 4, stride, first, s0, s1, s2, s3);                              \
        FOUR(function, 8, stride, first, s0, s1, s2, s3);                              \
        FOUR(function, 12, stride, first, s0, s1, s2, s3);                             \
        k += 16;                                                                       \
    } while (0)

static void compress(uint32_t state[4], const uint8_t *block) {
    const uint32_t *k = constants;
    uint32_t words[MD5_BLOCK / WORD_SIZE];
    uint32_t a = state[0];
    uint32_t b = state[1];
    uint32_t c = state[2];
    uint32_t d = state[3];

    __builtin_memcpy(words, block, sizeof words); /* both are little-endian */
    ROUND(CHOOSE, 1, 0, 7, 12, 17, 22);
    ROUND(CHOOSE_OTHER, 5, 1, 5, 9, 14, 20);
    ROUND(PARITY, 3, 5, 4, 11, 16, 23);
    ROUND(MIX, 7, 0, 6, 10, 15, 21);
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void md5_start(struct md5 *md5) {
    *md5 = (struct md5){
        .state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476},
    };
}

void md5_add(struct md5 *md5, const uint8_t *data, size_t blocks) {
    md5->length += blocks * MD5_BLOCK;
    for (; blocks; blocks--, data += MD5_BLOCK) {
        compress(md5->state, data);
    }
}

void md5_finish(struct md5 *md5, uint8_t digest[MD5_SIZE]) {
    uint8_t end[MD5_BLOCK] = {END_MARK};

    for (unsigned i = 0; i < LENGTH_SIZE; i++) {
        end[MD5_BLOCK - LENGTH_SIZE + i] = (uint8_t)(md5->length * 8 >> 8 * i);
    }
    compress(md5->state, end);
    for (unsigned i = 0; i < MD5_SIZE; i++) {
        digest[i] = (uint8_t)(md5->state[i / WORD_SIZE] >> 8 * (i % WORD_SIZE));
    }
}
