#include "bytes.h"
#include "link.h"
#include "nor.h"
#include "reply.h"
#include "sha256.h"

enum { ADDRESS_SIZE = 4, RANGE_SIZE = 8 };

#define CHUNK 1024u

static bool in_flash(uint32_t address, uint32_t length) {
    uint32_t size = nor_size();

    return address <= size && length <= size - address;
}

static bool read_flash(const struct request *request, uint32_t address,
                       uint32_t length) {
    uint8_t data[CHUNK];

    if (!reply_begin(request, REPLY_OK, length)) {
        return false;
    }
    while (length) {
        uint32_t count = length < CHUNK ? length : CHUNK;

        nor_read(address, data, count);
        if (!link_write(data, count)) {
            return false;
        }
        address += count;
        length -= count;
    }
    return true;
}

/* Blocks where they fit, sectors elsewhere. */
static bool erase_flash(const struct request *request, uint32_t address,
                        uint32_t length) {
    if (address % NOR_SECTOR || length % NOR_SECTOR) {
        return reply(request, REPLY_BAD_REQUEST, NULL, 0);
    }
    while (length) {
        bool block = address % NOR_BLOCK == 0 && length >= NOR_BLOCK;
        uint32_t unit = block ? NOR_BLOCK : NOR_SECTOR;

        if (!(block ? nor_erase_block(address) : nor_erase_sector(address))) {
            return reply(request, REPLY_FLASH_FAILED, NULL, 0);
        }
        link_poll();
        address += unit;
        length -= unit;
    }
    return reply(request, REPLY_OK, NULL, 0);
}

static bool digest_flash(const struct request *request, uint32_t address,
                         uint32_t length) {
    uint8_t data[CHUNK];
    struct sha256 sha;

    sha256_start(&sha);
    while (length) {
        uint32_t count = length < CHUNK ? length : CHUNK;

        nor_read(address, data, count);
        sha256_add(&sha, data, count);
        link_poll();
        address += count;
        length -= count;
    }
    sha256_finish(&sha, data);
    return reply(request, REPLY_OK, data, SHA256_SIZE);
}

static bool write_flash(const struct request *request) {
    uint8_t data[CHUNK];
    uint32_t left = request->length - ADDRESS_SIZE;
    bool done = true;

    if (!link_read(data, ADDRESS_SIZE)) {
        return false;
    }
    uint32_t address = get_u32(data);

    if (!in_flash(address, left)) {
        return reply_refuse(request, left, REPLY_BAD_REQUEST);
    }
    while (left) {
        uint32_t room = CHUNK - address % CHUNK;
        uint32_t count = left < room ? left : room;

        if (!link_read(data, count)) {
            return false;
        }
        done = done && nor_program(address, data, count);
        address += count;
        left -= count;
    }
    return reply(request, done ? REPLY_OK : REPLY_FLASH_FAILED, NULL, 0);
}

bool flash_request(const struct request *request) {
    uint8_t payload[RANGE_SIZE];

    if (request->op == REQUEST_FLASH_WRITE && request->length >= ADDRESS_SIZE) {
        return write_flash(request);
    }
    if (request->length != RANGE_SIZE) {
        return reply_refuse(request, request->length, REPLY_BAD_REQUEST);
    }
    if (!link_read(payload, sizeof payload)) {
        return false;
    }
    uint32_t address = get_u32(payload);
    uint32_t length = get_u32(payload + ADDRESS_SIZE);

    if (!in_flash(address, length)) {
        return reply(request, REPLY_BAD_REQUEST, NULL, 0);
    }
    switch (request->op) {
    case REQUEST_FLASH_READ:
        return read_flash(request, address, length);
    case REQUEST_FLASH_ERASE:
        return erase_flash(request, address, length);
    default:
        return digest_flash(request, address, length);
    }
}
