#include "slot.h"

#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "nor.h"

enum {
    VERSION = 1,
    VERSION_AT = 8,
    KMODEL_AT = 16,
    KNOWN_ANSWERS_AT = 96,
    LENGTH = 4, /* behind a part's offset */
    DIGEST = 8,
    CRC_AT = 140,
    HEADER_USED = 144,
    PIECE = 256,
};

static const char magic[] = "K210SLOT";

static bool is_header(const uint8_t *header) {
    return memcmp(header, magic, sizeof magic - 1) == 0 &&
           get_u32(header + VERSION_AT) == VERSION &&
           get_u32(header + CRC_AT) == crc32(0, header, CRC_AT);
}

/* The part whose fields are at `field` of the header. */
static bool find_part(uint32_t address, uint32_t field, struct slot_kmodel *part) {
    uint8_t header[HEADER_USED];
    uint32_t size = nor_size();

    if (address > size || size - address < HEADER_USED) {
        return false;
    }
    nor_read(address, header, sizeof header);
    uint32_t offset = get_u32(header + field);

    part->length = get_u32(header + field + LENGTH);
    part->address = address + offset;
    memcpy(part->digest, header + field + DIGEST, SHA256_SIZE);
    return is_header(header) && offset <= size - address &&
           part->length <= size - part->address;
}

bool slot_find(uint32_t address, struct slot_kmodel *kmodel) {
    return find_part(address, KMODEL_AT, kmodel);
}

bool slot_find_known_answers(uint32_t address, struct slot_kmodel *block) {
    return find_part(address, KNOWN_ANSWERS_AT, block) && block->length > 0;
}

bool slot_read(const struct slot_kmodel *kmodel, uint8_t *target) {
    uint8_t digest[SHA256_SIZE];
    struct sha256 sha;

    nor_read(kmodel->address, target, kmodel->length);
    sha256_start(&sha);
    sha256_add(&sha, target, kmodel->length);
    sha256_finish(&sha, digest);
    return memcmp(digest, kmodel->digest, SHA256_SIZE) == 0;
}

bool slot_is_whole(const struct slot_kmodel *part) {
    uint8_t digest[SHA256_SIZE];
    uint8_t piece[PIECE];
    struct sha256 sha;

    sha256_start(&sha);
    for (uint32_t done = 0; done < part->length; done += PIECE) {
        uint32_t left = part->length - done;
        uint32_t size = left < PIECE ? left : PIECE;

        nor_read(part->address + done, piece, size);
        sha256_add(&sha, piece, size);
    }
    sha256_finish(&sha, digest);
    return memcmp(digest, part->digest, SHA256_SIZE) == 0;
}
