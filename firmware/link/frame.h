/**
 * Frames of the link: a header, a payload and a CRC-32, COBS-coded, ended by a 0 byte.
 *
 * firmware/README.md has the layout. Knows nothing of the chip; tests build it on the
 * host, beside its twin k210/link/frame.py.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_VERSION 1u
#define FRAME_MAX_PAYLOAD 1024u
#define FRAME_HEADER_SIZE 10u
#define FRAME_CRC_SIZE 4u
#define FRAME_MAX_BODY (FRAME_HEADER_SIZE + FRAME_MAX_PAYLOAD + FRAME_CRC_SIZE)
/** COBS adds a byte to every 254, and one; then comes the 0. */
#define FRAME_MAX_CODED (FRAME_MAX_BODY + FRAME_MAX_BODY / 254u + 2u)
/** Where in the coded frame its payload may lie before: coding stays behind it. */
#define FRAME_PAYLOAD_AT (FRAME_MAX_CODED - FRAME_CRC_SIZE - FRAME_MAX_PAYLOAD)
/** Bytes for coding a frame with so much payload, in its place or not. */
#define FRAME_ROOM(length) (FRAME_PAYLOAD_AT + (length) + FRAME_CRC_SIZE)

/** What a frame is for. */
enum frame_kind {
    FRAME_HELLO = 1,
    FRAME_WELCOME = 2,
    FRAME_DATA = 3,
    FRAME_ACK = 4,
    FRAME_UNKNOWN_SESSION = 5,
};

/** A frame without its payload. */
struct frame {
    uint8_t kind;
    uint8_t version;
    uint16_t session;
    uint32_t offset;
    uint16_t length; /**< of the payload */
};

/** Gathers the bytes of a frame as they come. */
struct frame_decoder {
    size_t length;
    bool too_long;
    uint8_t bytes[FRAME_MAX_CODED];
};

/**
 * Code a frame into `coded`, FRAME_ROOM(length) bytes; returns the bytes written.
 *
 * @param payload anywhere else, or at coded + FRAME_PAYLOAD_AT
 */
size_t frame_encode(const struct frame *frame, const uint8_t *payload, uint8_t *coded);

/**
 * Take bytes up to the end of a frame.
 *
 * @param used the number of bytes taken
 * @param payload where the frame's payload lies, until the next call
 * @return whether these bytes ended a frame, and one without a fault
 */
bool frame_decode(struct frame_decoder *decoder, const uint8_t *bytes, size_t length,
                  size_t *used, struct frame *frame, const uint8_t **payload);

#endif
