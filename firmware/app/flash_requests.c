#include "bytes.h"
#include "flash_jobs.h"
#include "link.h"
#include "nor.h"
#include "reply.h"

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

static bool refuse(const struct request *request, uint32_t left) {
    return flash_jobs_finish() && reply_refuse(request, left, REPLY_BAD_REQUEST);
}

static bool write_flash(const struct request *request) {
    uint8_t data[ADDRESS_SIZE];
    uint32_t length = request->length - ADDRESS_SIZE;

    if (!link_read(data, sizeof data)) {
        return false;
    }
    uint32_t address = get_u32(data);

    if (!in_flash(address, length)) {
        return refuse(request, length);
    }
    return flash_jobs_add_write(request, address, length);
}

bool flash_request(const struct request *request) {
    uint8_t payload[RANGE_SIZE];

    if (request->op == REQUEST_FLASH_WRITE && request->length >= ADDRESS_SIZE) {
        return write_flash(request);
    }
    if (request->length != RANGE_SIZE) {
        return refuse(request, request->length);
    }
    if (!link_read(payload, sizeof payload)) {
        return false;
    }
    uint32_t address = get_u32(payload);
    uint32_t length = get_u32(payload + ADDRESS_SIZE);

    bool whole = address % NOR_SECTOR == 0 && length % NOR_SECTOR == 0;
    bool sectors =
        request->op == REQUEST_FLASH_ERASE || request->op == REQUEST_FLASH_SECTORS;

    if (!in_flash(address, length) || (sectors && (!whole || !length))) {
        return refuse(request, 0);
    }
    if (request->op == REQUEST_FLASH_READ) {
        return flash_jobs_finish() && read_flash(request, address, length);
    }
    return flash_jobs_add(request, address, length);
}
