#include "frame.h"

#include "bytes.h"
#include "crc32.h"

enum {
    KIND_AT = 0,
    VERSION_AT = 1,
    SESSION_AT = 2,
    OFFSET_AT = 4,
    LENGTH_AT = 8,
    LONGEST_BLOCK = 0xff,
};

struct cobs_writer {
    uint8_t *out;
    size_t code_at;
    size_t at;
};

static void cobs_end_block(struct cobs_writer *writer) {
    writer->out[writer->code_at] = (uint8_t)(writer->at - writer->code_at);
    writer->code_at = writer->at++;
}

static void cobs_put(struct cobs_writer *writer, const uint8_t *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (bytes[i]) {
            writer->out[writer->at++] = bytes[i];
        }
        if (!bytes[i] || writer->at - writer->code_at == LONGEST_BLOCK) {
            cobs_end_block(writer);
        }
    }
}

size_t frame_encode(const struct frame *frame, const uint8_t *payload, uint8_t *coded) {
    struct cobs_writer writer = {.out = coded, .code_at = 0, .at = 1};
    uint8_t header[FRAME_HEADER_SIZE];
    uint8_t check[FRAME_CRC_SIZE];

    header[KIND_AT] = frame->kind;
    header[VERSION_AT] = frame->version;
    put_u16(header + SESSION_AT, frame->session);
    put_u32(header + OFFSET_AT, frame->offset);
    put_u16(header + LENGTH_AT, frame->length);
    put_u32(check, crc32(crc32(0, header, sizeof header), payload, frame->length));
    cobs_put(&writer, header, sizeof header);
    cobs_put(&writer, payload, frame->length);
    cobs_put(&writer, check, sizeof check);
    coded[writer.code_at] = (uint8_t)(writer.at - writer.code_at);
    coded[writer.at++] = 0;
    return writer.at;
}

/* Undo COBS in place; returns the length, or 0 if this is no COBS. */
static size_t cobs_decode(uint8_t *bytes, size_t length) {
    size_t out = 0;

    for (size_t at = 0; at < length;) {
        uint8_t code = bytes[at];
        size_t end = at + code;

        if (!code || end > length) {
            return 0;
        }
        for (at++; at < end; at++) {
            bytes[out++] = bytes[at];
        }
        if (code != LONGEST_BLOCK && at < length) {
            bytes[out++] = 0;
        }
    }
    return out;
}

static bool parse(uint8_t *body, size_t length, struct frame *frame) {
    if (length < FRAME_HEADER_SIZE + FRAME_CRC_SIZE) {
        return false;
    }
    frame->kind = body[KIND_AT];
    frame->version = body[VERSION_AT];
    frame->session = get_u16(body + SESSION_AT);
    frame->offset = get_u32(body + OFFSET_AT);
    frame->length = get_u16(body + LENGTH_AT);
    length -= FRAME_CRC_SIZE;
    return length == FRAME_HEADER_SIZE + (size_t)frame->length &&
           get_u32(body + length) == crc32(0, body, length);
}

/* Take bytes up to a 0; whether there was one. */
static bool gather(struct frame_decoder *decoder, const uint8_t *bytes, size_t length,
                   size_t *used) {
    for (*used = 0; *used < length;) {
        uint8_t byte = bytes[(*used)++];

        if (!byte) {
            return true;
        }
        if (decoder->length < sizeof decoder->bytes) {
            decoder->bytes[decoder->length++] = byte;
        } else {
            decoder->too_long = true;
        }
    }
    return false;
}

bool frame_decode(struct frame_decoder *decoder, const uint8_t *bytes, size_t length,
                  size_t *used, struct frame *frame, const uint8_t **payload) {
    if (!gather(decoder, bytes, length, used)) {
        return false;
    }
    size_t decoded = cobs_decode(decoder->bytes, decoder->length);
    bool good = !decoder->too_long && parse(decoder->bytes, decoded, frame);

    *payload = decoder->bytes + FRAME_HEADER_SIZE;
    decoder->length = 0;
    decoder->too_long = false;
    return good;
}
