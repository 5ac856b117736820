#include "requests.h"

#include "bytes.h"
#include "clint.h"
#include "flash_jobs.h"
#include "link.h"
#include "model.h"
#include "nor.h"
#include "reply.h"
#include "sha256.h"
#include "sysctl.h"

enum {
    REQUEST_HEADER_SIZE = 8,
    TAG_AT = 2,
    LENGTH_AT = 4,
    IDENTITY_SIZE = SHA256_SIZE + 3 + NOR_UNIQUE_ID_SIZE + 1 + 12,
};

extern const uint8_t firmware_digest[SHA256_SIZE];

bool reply_begin(const struct request *request, enum reply_status status,
                 size_t length) {
    uint8_t header[REQUEST_HEADER_SIZE];

    header[0] = request->op;
    header[1] = (uint8_t)status;
    put_u16(header + TAG_AT, request->tag);
    put_u32(header + LENGTH_AT, (uint32_t)length);
    return link_write(header, sizeof header);
}

bool reply(const struct request *request, enum reply_status status, const uint8_t *data,
           size_t length) {
    return reply_begin(request, status, length) && link_write(data, length);
}

bool reply_refuse(const struct request *request, size_t left,
                  enum reply_status status) {
    return link_skip(left) && reply(request, status, NULL, 0);
}

static bool identity(const struct request *request) {
    uint8_t data[IDENTITY_SIZE];
    uint8_t *at = data;

    for (size_t i = 0; i < SHA256_SIZE; i++) {
        *at++ = firmware_digest[i];
    }
    nor_jedec_id(at);
    nor_unique_id(at + 3);
    at += 3 + NOR_UNIQUE_ID_SIZE;
    *at++ = model_loaded();
    put_u32(at, nor_size());
    put_u32(at + 4, model_room());
    put_u32(at + 8, CLINT_HZ);
    return link_skip(request->length) && reply(request, REPLY_OK, data, sizeof data);
}

static bool set_baud(const struct request *request) {
    uint8_t payload[4];

    if (request->length != sizeof payload) {
        return reply_refuse(request, request->length, REPLY_BAD_REQUEST);
    }
    if (!link_read(payload, sizeof payload) || !reply(request, REPLY_OK, NULL, 0)) {
        return false;
    }
    (void)link_flush(); /* it may have heard us though we do not hear that it has */
    if (!link_wait()) {
        return false;
    }
    link_set_baud(get_u32(payload));
    return true;
}

static bool reboot(const struct request *request) {
    if (!link_skip(request->length) || !reply(request, REPLY_OK, NULL, 0)) {
        return false;
    }
    (void)link_flush();
    sysctl_reset_chip();
}

static bool is_of_flash(const struct request *request) {
    switch (request->op) {
    case REQUEST_FLASH_READ:
    case REQUEST_FLASH_ERASE:
    case REQUEST_FLASH_WRITE:
    case REQUEST_FLASH_SHA256:
    case REQUEST_FLASH_SECTORS:
        return true;
    default:
        return false;
    }
}

static bool dispatch(const struct request *request) {
    if (is_of_flash(request)) {
        return flash_request(request);
    }
    if (!flash_jobs_finish()) { /* answers come in the order of the requests */
        return false;
    }
    switch (request->op) {
    case REQUEST_IDENTITY:
        return identity(request);
    case REQUEST_LOAD_SLOT:
    case REQUEST_LOAD_BYTES:
    case REQUEST_DESCRIBE:
    case REQUEST_INFER:
    case REQUEST_TIMINGS:
    case REQUEST_TRACE:
    case REQUEST_FORGET:
    case REQUEST_SELF_TEST:
        return model_request(request);
    case REQUEST_SET_BAUD:
        return set_baud(request);
    case REQUEST_REBOOT:
        return reboot(request);
    default:
        return reply_refuse(request, request->length, REPLY_BAD_REQUEST);
    }
}

void requests_serve(void) {
    link_set_background(flash_jobs_step);
    for (;;) {
        uint8_t header[REQUEST_HEADER_SIZE];

        link_begin();
        flash_jobs_drop();
        while (link_read(header, sizeof header)) {
            struct request request = {
                .op = header[0],
                .tag = get_u16(header + TAG_AT),
                .length = get_u32(header + LENGTH_AT),
            };

            if (!dispatch(&request)) {
                break;
            }
        }
    }
}
