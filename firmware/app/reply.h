/**
 * Answers to requests, and the requests that each part of the firmware answers.
 *
 * A handler reads the whole payload of its request and sends one answer. It returns
 * false if the host has gone: then the request is dropped.
 */
#ifndef REPLY_H
#define REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Operations. The values are part of the link protocol: append only. */
enum request_op {
    REQUEST_IDENTITY = 1,
    REQUEST_FLASH_READ = 2,
    REQUEST_FLASH_ERASE = 3,
    REQUEST_FLASH_WRITE = 4,
    REQUEST_FLASH_SHA256 = 5,
    REQUEST_LOAD_SLOT = 6,
    REQUEST_LOAD_BYTES = 7,
    REQUEST_DESCRIBE = 8,
    REQUEST_INFER = 9,
    REQUEST_TIMINGS = 10,
    REQUEST_TRACE = 11,
    REQUEST_SET_BAUD = 12,
    REQUEST_REBOOT = 13,
    REQUEST_FORGET = 14,
    REQUEST_FLASH_SECTORS = 20,
};

/** How a request ended. The values are part of the link protocol: append only. */
enum reply_status {
    REPLY_OK = 0,
    REPLY_BAD_REQUEST = 1,
    REPLY_FLASH_FAILED = 2,
    REPLY_NO_MODEL = 3,
    REPLY_MODEL_REFUSED = 4, /**< followed by kmodel_status, offset and a sentence */
    REPLY_NO_ROOM = 5,
    REPLY_NO_SLOT = 6,
    REPLY_SLOT_DAMAGED = 7,
    REPLY_NO_SUCH_OP = 8,
};

/** A request; its payload is still to be read from the link. */
struct request {
    uint8_t op;
    uint16_t tag;
    uint32_t length;
};

/** Begin an answer, whose `length` bytes follow through link_write(). */
bool reply_begin(const struct request *request, enum reply_status status,
                 size_t length);

/** An answer in whole. */
bool reply(const struct request *request, enum reply_status status, const uint8_t *data,
           size_t length);

/** Skip what is left of a payload and answer that the request makes no sense. */
bool reply_refuse(const struct request *request, size_t left, enum reply_status status);

/** Flash requests. */
bool flash_request(const struct request *request);

/** Model requests. */
bool model_request(const struct request *request);

#endif
